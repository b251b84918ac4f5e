// node server.mjs: serves this bundle at HOST and PORT; bindings come from the environment.
import { serve } from "./index.mjs";

const { HOST: host = "127.0.0.1", PORT: port = "8787" } = process.env;
const server = await serve(process.env, { host, port: Number(port) });
console.log(`http://$${host}:$${server.address().port}`);
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => server.close());
