/* The CUDA back end: a SIZED Program -> CUDA C++ text -> cubin (NVRTC). */
#ifndef ATTUNE_EMIT_CUDA_H
#define ATTUNE_EMIT_CUDA_H

#include "compiler/target.h"

/* Cubin for every phase; entries are named `<program name>_<phase name>`. Sets code, and of every phase
 * threads, shared_bytes, persistent and maps; target_emit describes the rest. NULL with diagnostics. */
Kernel *cuda_emit(const Target *target, Arena *arena, Diag *diag, Program *program);
/* The CUDA C++ text that cuda_emit compiles, in the arena; `name` is the program's. NULL with diagnostics. */
char *cuda_text(const Target *target, Arena *arena, Diag *diag, Program *program);

/* Whether the Program's tiles are of a good size: they fit, `easily` or by any means. With `fast` some phase
 * also goes to the fast path, which is what such tiles are for. */
bool cuda_tiles_suit(const Target *target, Arena *arena, Program *program, bool fast, bool easily);

#endif
