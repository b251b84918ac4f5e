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

export interface Tensor {
  dtype: string;
  shape: number[];
  bytes: Uint8Array;
}

export interface Hit {
  id: number;
  score: number;
  payload: unknown;
}

export interface Pipeline {
  /** The vector of a picture, a text, or what else it takes; throws an Error with `status` for what it does not. */
  embed(input: Uint8Array): Float32Array;
  /** What the steps before the search make: bytes, hits, or tensors by name. */
  run(input: Uint8Array): Uint8Array | Hit[] | Record<string, Tensor>;
  fetch(request: Request): Promise<Response>;
  readonly memoryBytes: number;
}

export function open(bindings?: Bindings): Promise<Pipeline>;
export function serve(
  bindings?: Bindings,
  where?: { host?: string; port?: number },
): Promise<import("node:http").Server>;
