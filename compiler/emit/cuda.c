/* The door of the CUDA back end: a Program -> one CUDA C++ text -> NVRTC -> a Kernel with a cubin.
 *
 * Every phase is offered to cuda_attend, the fast path for attention on Hopper; cuda_plain takes the rest.
 * The text stands alone: launch structs, the prelude's helpers, the phases; no headers. */
#include "cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_gen.h"
#include "cuda_plain.h"
#include "nvrtc.h"

/* The files *.cuh beside this one, turned into C by the build. */
extern const char cuda_prelude_text[], cuda_plain_text[], cuda_hopper_text[], cuda_attend_text[];

void cuda_line(CudaGen *g, const char *format, ...)
{
    bool fresh = g->text.length == 0 || g->text.data[g->text.length - 1] == '\n';
    for (int k = 0; fresh && format[0] != '\n' && k < g->indent; k++)
        text_add_bytes(&g->text, " ", 1);
    va_list args;
    va_start(args, format);
    const char *line = arena_vprintf(g->arena, format, args);
    va_end(args);
    text_add_bytes(&g->text, line, strlen(line));
}

static void name_entry(const Program *program, const Phase *phase, char *entry, size_t size)
{
    snprintf(entry, size, "%.47s_%.47s", program->name, phase->name); /* as kernel_describe */
}

static bool is_fast(CudaPath path)
{
    return path == CUDA_ATTEND;
}

/* The first path that takes g->phase. */
static bool emit_phase(CudaGen *g, unsigned how, CudaText *out, int p)
{
    KernelPhase *phase = &out->phases[p];
    int errors = g->diag->errors;
    out->slices[p] = 1;
    out->path[p] = CUDA_PLAIN;
    if (!(how & CUDA_PLAIN_ONLY) && !strcmp(g->target->arch, "sm_90a"))
        out->path[p] = cuda_attend(g, phase) ? CUDA_ATTEND : CUDA_PLAIN;
    if (g->diag->errors > errors)
        return false;
    return out->path[p] != CUDA_PLAIN || cuda_plain(g, phase, &out->slices[p]);
}

bool cuda_program(const Target *target, Arena *arena, Diag *diag, Program *program, unsigned how,
                  CudaText *out)
{
    bool used[CUDA_ATTEND + 1] = {false};
    *out = (CudaText){.text = NULL};
    CudaGen *g = ARENA_NEW(arena, CudaGen);
    *g = (CudaGen){.arena = arena,
                   .diag = diag,
                   .target = target,
                   .program = program,
                   .easily = (how & CUDA_EASILY) != 0,
                   .text = {.arena = arena}};
    cuda_ranges(g);
    for (int p = 0; p < program->phase_count; p++) {
        g->phase = &program->phases[p];
        name_entry(program, g->phase, out->phases[p].entry, sizeof out->phases[p].entry);
        cuda_line(g, "/* phase %s */\n", g->phase->name);
        if (!emit_phase(g, how, out, p))
            return false;
        used[out->path[p]] = true;
    }
    Text text = {.arena = arena};
    text_add(&text, "/* %s: CUDA C++ for %s */\n", program->name, target->arch);
    text_add(&text, "#pragma nv_diag_suppress 177, 550\n"); /* unused functions and variables */
    text_add_bytes(&text, cuda_prelude_text, strlen(cuda_prelude_text));
    if (used[CUDA_PLAIN])
        text_add_bytes(&text, cuda_plain_text, strlen(cuda_plain_text));
    if (used[CUDA_ATTEND])
        text_add_bytes(&text, cuda_hopper_text, strlen(cuda_hopper_text));
    if (used[CUDA_ATTEND])
        text_add_bytes(&text, cuda_attend_text, strlen(cuda_attend_text));
    text_add_bytes(&text, g->text.data, g->text.length);
    out->text = text.data;
    return diag->errors == 0;
}

char *cuda_text(const Target *target, Arena *arena, Diag *diag, Program *program)
{
    CudaText *text = ARENA_NEW(arena, CudaText);
    return cuda_program(target, arena, diag, program, 0, text) ? text->text : NULL;
}

bool cuda_tiles_suit(const Target *target, Arena *arena, Program *program, bool fast, bool easily)
{
    CudaText *text = ARENA_NEW(arena, CudaText);
    if (!cuda_program(target, arena, diag_create(arena), program, easily ? CUDA_EASILY : 0, text))
        return false;
    for (int p = 0; p < program->phase_count; p++)
        if (is_fast(text->path[p]))
            return true;
    return !fast;
}

static void warn_slow(Diag *diag, const Program *program, const CudaText *emission, const NvrtcReport *report)
{
    if (report->wgmma_serialized)
        diag_warn(diag, SPAN_NONE, "slow-code",
                  "%s: the tensor cores wait after every product (wgmma is serialised)", program->name);
    for (int p = 0; p < program->phase_count; p++)
        for (int e = 0; is_fast(emission->path[p]) && e < report->entry_count; e++) {
            const NvrtcEntry *entry = &report->entries[e];
            if (!strcmp(entry->name, emission->phases[p].entry) &&
                entry->spill_stores + entry->spill_loads > 0)
                diag_warn(diag, SPAN_NONE, "slow-code",
                          "%s does not fit the registers: %d bytes a thread go through memory", entry->name,
                          entry->spill_stores + entry->spill_loads);
        }
}

Kernel *cuda_emit(const Target *target, Arena *arena, Diag *diag, Program *program)
{
    CudaText *emission = ARENA_NEW(arena, CudaText);
    if (!cuda_program(target, arena, diag, program, 0, emission))
        return NULL;
    NvrtcResult result;
    if (nvrtc_compile(arena, diag, emission->text, arena_printf(arena, "%s.cu", program->name), target->arch,
                      NULL, &result) != NVRTC_DONE)
        return NULL;
    warn_slow(diag, program, emission, &result.report);
    for (int p = 0; p < program->phase_count; p++)
        plain_divide_grid(&program->phases[p], emission->slices[p]);
    Kernel *kernel = calloc(1, sizeof *kernel);
    void *code = malloc(result.cubin_size);
    if (!kernel || !code) {
        free(kernel);
        free(code);
        arena_fail(arena);
    }
    memcpy(code, result.cubin, result.cubin_size);
    kernel->format = KERNEL_CUBIN;
    kernel->code = code;
    kernel->code_size = result.cubin_size;
    memcpy(kernel->phases, emission->phases, sizeof emission->phases);
    return kernel;
}
