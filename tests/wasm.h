/* Declarations of the WebAssembly C API that the C host in docs/reference/model-format.md uses. */
#ifndef WASM_H
#define WASM_H
#include <stddef.h>

typedef struct wasm_engine_t wasm_engine_t;
typedef struct wasm_store_t wasm_store_t;
typedef struct wasm_module_t wasm_module_t;
typedef struct wasm_instance_t wasm_instance_t;
typedef struct wasm_extern_t wasm_extern_t;
typedef struct wasm_memory_t wasm_memory_t;
typedef struct wasm_func_t wasm_func_t;
typedef struct wasm_trap_t wasm_trap_t;
typedef struct { size_t size; char* data; } wasm_byte_vec_t;
typedef struct { size_t size; wasm_extern_t** data; } wasm_extern_vec_t;
typedef struct { size_t size; void* data; } wasm_val_vec_t;

void wasm_byte_vec_new_uninitialized(wasm_byte_vec_t*, size_t);
wasm_engine_t* wasm_engine_new(void);
wasm_store_t* wasm_store_new(wasm_engine_t*);
wasm_module_t* wasm_module_new(wasm_store_t*, const wasm_byte_vec_t*);
wasm_instance_t* wasm_instance_new(wasm_store_t*, const wasm_module_t*, const wasm_extern_vec_t*, wasm_trap_t**);
void wasm_instance_exports(const wasm_instance_t*, wasm_extern_vec_t*);
wasm_memory_t* wasm_extern_as_memory(wasm_extern_t*);
wasm_func_t* wasm_extern_as_func(wasm_extern_t*);
char* wasm_memory_data(wasm_memory_t*);
wasm_trap_t* wasm_func_call(const wasm_func_t*, const wasm_val_vec_t*, wasm_val_vec_t*);
#endif
