/** KV's two functions, as far as they are used. */
export interface Store {
  get(key: string, kind: "arrayBuffer"): Promise<ArrayBuffer | null>;
  put(key: string, value: ArrayBuffer, options: { expirationTtl: number }): Promise<void>;
}

/** As in README.md. */
export interface Bindings {
  [name: string]: string | Store | undefined;
  EMBEDDINGS?: Store;
}

export interface Pipeline {
  /** A JPEG or PNG picture's vector; throws an Error with `status` for what is no such picture. */
  embed(picture: Uint8Array): Float32Array;
  fetch(request: Request): Promise<Response>;
  readonly memoryBytes: number;
}

export function open(bindings?: Bindings): Promise<Pipeline>;
export function serve(
  bindings?: Bindings,
  where?: { host?: string; port?: number },
): Promise<import("node:http").Server>;
