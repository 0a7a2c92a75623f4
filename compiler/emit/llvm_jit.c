/* Loading of relocatable objects into this process: one JIT for all, each object in a library of its own.
 * Libraries are reused after their object has gone, since LLVM's C interface cannot remove one. */
#include "llvm.h"

#include <llvm-c/Core.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>
#include <llvm-c/Target.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct LlvmCode {
    LLVMOrcJITDylibRef library;
    LLVMOrcResourceTrackerRef tracker;
};

typedef struct Spare { struct Spare *next; LLVMOrcJITDylibRef library; } Spare;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static LLVMOrcLLJITRef jit; /* lives as long as the process */
static Spare *spares;
static unsigned library_count;

static void describe(LLVMErrorRef error, char *text, size_t size)
{
    char *message = LLVMGetErrorMessage(error);
    snprintf(text, size, "%s", message);
    LLVMDisposeErrorMessage(message);
}

/* What fails is said by the function that failed, not on the terminal. */
static void keep_quiet(void *user, LLVMErrorRef error)
{
    (void)user;
    LLVMConsumeError(error);
}

/* Under the lock. */
static bool jit_open(char *error, size_t error_size)
{
    if (jit)
        return true;
    LLVMInitializeNativeTarget();
    LLVMInitializeNativeAsmPrinter();
    LLVMErrorRef failure = LLVMOrcCreateLLJIT(&jit, NULL);
    if (failure) {
        describe(failure, error, error_size);
        jit = NULL;
    } else {
        LLVMOrcExecutionSessionSetErrorReporter(LLVMOrcLLJITGetExecutionSession(jit), keep_quiet, NULL);
    }
    return jit != NULL;
}

/* The only functions that objects may call. */
static LLVMErrorRef define_memory_functions(LLVMOrcJITDylibRef library)
{
    static const struct {
        const char *name;
        void *(*copy)(void *, const void *, size_t);
        void *(*fill)(void *, int, size_t);
    } functions[] = {{"memcpy", memcpy, NULL}, {"memmove", memmove, NULL}, {"memset", NULL, memset}};
    LLVMOrcCSymbolMapPair pairs[3];
    for (int k = 0; k < 3; k++) {
        LLVMOrcJITTargetAddress address = functions[k].copy ? (LLVMOrcJITTargetAddress)functions[k].copy
                                                            : (LLVMOrcJITTargetAddress)functions[k].fill;
        pairs[k].Name = LLVMOrcLLJITMangleAndIntern(jit, functions[k].name);
        pairs[k].Sym = (LLVMJITEvaluatedSymbol){
            .Address = address,
            .Flags = {.GenericFlags = LLVMJITSymbolGenericFlagsExported | LLVMJITSymbolGenericFlagsCallable}};
    }
    LLVMOrcMaterializationUnitRef unit = LLVMOrcAbsoluteSymbols(pairs, 3);
    LLVMErrorRef error = LLVMOrcJITDylibDefine(library, unit);
    if (error)
        LLVMOrcDisposeMaterializationUnit(unit);
    return error;
}

/* Under the lock. */
static LLVMOrcJITDylibRef take_library(char *error, size_t error_size)
{
    if (spares) {
        Spare *spare = spares;
        LLVMOrcJITDylibRef library = spare->library;
        spares = spare->next;
        free(spare);
        return library;
    }
    char name[32];
    snprintf(name, sizeof name, "attune%u", library_count++);
    LLVMOrcJITDylibRef library =
        LLVMOrcExecutionSessionCreateBareJITDylib(LLVMOrcLLJITGetExecutionSession(jit), name);
    LLVMErrorRef failure = define_memory_functions(library);
    if (failure) {
        describe(failure, error, error_size);
        return NULL;
    }
    return library;
}

static void give_library(LLVMOrcJITDylibRef library)
{
    Spare *spare = malloc(sizeof *spare);
    if (!spare)
        return;
    pthread_mutex_lock(&lock);
    *spare = (Spare){spares, library};
    spares = spare;
    pthread_mutex_unlock(&lock);
}

LlvmCode *llvm_load(const void *object, size_t size, char *error, size_t error_size)
{
    LlvmCode *code = calloc(1, sizeof *code);
    if (!code) {
        snprintf(error, error_size, "out of memory");
        return NULL;
    }
    pthread_mutex_lock(&lock);
    code->library = jit_open(error, error_size) ? take_library(error, error_size) : NULL;
    pthread_mutex_unlock(&lock);
    if (!code->library) {
        free(code);
        return NULL;
    }
    code->tracker = LLVMOrcJITDylibCreateResourceTracker(code->library);
    LLVMMemoryBufferRef buffer = LLVMCreateMemoryBufferWithMemoryRangeCopy(object, size, "kernel");
    LLVMErrorRef failure = LLVMOrcLLJITAddObjectFileWithRT(jit, code->tracker, buffer);
    if (failure) {
        describe(failure, error, error_size);
        llvm_unload(code);
        return NULL;
    }
    return code;
}

typedef struct Found {
    pthread_mutex_t lock;
    pthread_cond_t ready;
    bool done;
    void *address;
} Found;

/* May be called from another thread that is linking the same object. */
static void found(LLVMErrorRef error, LLVMOrcCSymbolMapPairs pairs, size_t count, void *user)
{
    Found *f = user;
    void *address = NULL;
    if (error)
        LLVMConsumeError(error);
    else if (count == 1)
        address = (void *)(uintptr_t)pairs[0].Sym.Address;
    pthread_mutex_lock(&f->lock);
    f->address = address;
    f->done = true;
    pthread_cond_signal(&f->ready);
    pthread_mutex_unlock(&f->lock);
}

void *llvm_symbol(LlvmCode *code, const char *name)
{
    Found f = {.lock = PTHREAD_MUTEX_INITIALIZER, .ready = PTHREAD_COND_INITIALIZER};
    LLVMOrcCJITDylibSearchOrderElement order = {code->library,
                                                LLVMOrcJITDylibLookupFlagsMatchExportedSymbolsOnly};
    LLVMOrcCLookupSetElement symbol = {LLVMOrcLLJITMangleAndIntern(jit, name),
                                       LLVMOrcSymbolLookupFlagsRequiredSymbol};
    LLVMOrcExecutionSessionLookup(LLVMOrcLLJITGetExecutionSession(jit), LLVMOrcLookupKindStatic, &order, 1,
                                  &symbol, 1, found, &f);
    pthread_mutex_lock(&f.lock);
    while (!f.done)
        pthread_cond_wait(&f.ready, &f.lock);
    pthread_mutex_unlock(&f.lock);
    return f.address;
}

void llvm_unload(LlvmCode *code)
{
    if (!code)
        return;
    LLVMErrorRef failure = LLVMOrcResourceTrackerRemove(code->tracker);
    if (failure)
        LLVMConsumeError(failure);
    LLVMOrcReleaseResourceTracker(code->tracker);
    give_library(code->library);
    free(code);
}
