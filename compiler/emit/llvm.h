/* The LLVM back ends. For CPUs: a SIZED Program -> one relocatable object; and loading such objects for JIT
 * use. For NVIDIA GPUs: a SIZED Program -> PTX. */
#ifndef ATTUNE_EMIT_LLVM_H
#define ATTUNE_EMIT_LLVM_H

#include "compiler/target.h"

/* Fills the CPU facts of a Target: "native" for the host or an LLVM cpu name; triple NULL: the host's. */
bool llvm_cpu_target(Diag *diag, const char *cpu, const char *triple, Target *target);
/* Object code for every phase; entries are named `<program name>_<phase name>`. Sets entry names,
 * scratch_bytes, code. NULL with diagnostics. Position-independent code, no external symbols but mem*
 * functions. */
Kernel *llvm_cpu_emit(const Target *target, Arena *arena, Diag *diag, const Program *program);
/* The LLVM IR (optimised) or assembly of the same, as text in the arena. */
char *llvm_cpu_text(const Target *target, Arena *arena, Diag *diag, const Program *program, bool assembly);

/* What LLVM wants to know of a Target for PTX whose arch is set. language: the version of PTX, 78 for 7.8. */
void llvm_ptx_target(int language, Target *target);
/* PTX text for every phase, which the driver of the device compiles; the same entries. Like cuda_emit it sets
 * threads and shared_bytes of every phase. NULL with diagnostics. */
Kernel *llvm_ptx_emit(const Target *target, Arena *arena, Diag *diag, Program *program);
/* That text, or the LLVM IR (optimised) that it is made of. */
char *llvm_ptx_text(const Target *target, Arena *arena, Diag *diag, Program *program, bool ir);
/* For tests: the same code for the host's machine (a CPU target), as a relocatable object, malloc'ed. The
 * GPU's own instructions are calls of functions named after them (llvm_ptx_isa.c), shared memory is the array
 * attune_tiles. An entry takes the launch's argument by address and is run by 256 threads. */
void *llvm_ptx_host_object(const Target *target, const Target *host, Arena *arena, Diag *diag,
                           Program *program, KernelPhase phases[PROGRAM_MAX_PHASES],
                           int slices[PROGRAM_MAX_PHASES], size_t *size);

/* "22.1.8": part of cache keys. */
const char *llvm_version(void);

/* A loaded object. Thread-safe to create; entries stay valid until destroyed. */
typedef struct LlvmCode LlvmCode;
LlvmCode *llvm_load(const void *object, size_t size, char *error, size_t error_size);
void *llvm_symbol(LlvmCode *code, const char *name); /* NULL when absent */
void llvm_unload(LlvmCode *code);

#endif
