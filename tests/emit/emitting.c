#include "emitting.h"

#include <stdlib.h>
#include <string.h>

void making_open(Making *m, const char *name)
{
    m->arena = arena_create();
    m->diag = diag_create(m->arena);
    m->pool = expr_pool_create(m->arena);
    m->program = program_create(m->arena, m->pool, name, 1);
    m->phase = program_phase(m->program, "work");
    m->phase->grid_count = 1;
    m->phase->grid[0].name = "b";
    m->phase->grid[0].extent = (Extent){.size = VAR_SIZE_B, .div_knob = -1, .div = 1, .mul = 1};
    m->at = (Builder){.program = m->program, .block = m->phase->body, .span = SPAN_NONE, .label = "test"};
}

void making_close(Making *m)
{
    arena_destroy(m->arena);
}

int making_axis(Making *m, const char *name, int64_t extent)
{
    int axis = program_axis(m->program, name, expr_int(m->pool, extent));
    m->program->axes[axis].extent = extent;
    return axis;
}

int making_tensor(Making *m, const char *name, TensorRole role, ElemType elem, int dims)
{
    Tensor t = {.name = name, .role = role, .elem = elem, .dim_count = dims};
    for (int d = 0; d < dims; d++)
        t.extent[d] = (Extent){.size = -1, .div_knob = -1, .div = 1, .mul = 1 << 20};
    return program_tensor(m->program, t);
}

Inst *making_map(Making *m, const Expr *e, Inst *a, Inst *b, Inst *c)
{
    Inst *args[] = {a, b, c};
    return build_map(&m->at, e, args, a ? b ? c ? 3 : 2 : 1 : 0);
}

const Expr *making_arg(Making *m, int k, ExprType type)
{
    return expr_arg(m->pool, k, type);
}

bool making_finish(Making *m)
{
    m->program->stage = STAGE_SIZED;
    if (program_verify(m->program, m->diag))
        return true;
    fprintf(stderr, "%s\n", program_print(m->program, m->arena));
    diag_print(m->diag, stderr, DIAG_TEXT, false);
    return false;
}

bool code_make(Code *code, Making *m, const char *name)
{
    char error[256] = "";
    Target target;
    *code = (Code){0};
    code->kernel =
        target_parse(m->diag, name, &target) ? target_emit(&target, m->arena, m->diag, m->program) : NULL;
    if (code->kernel)
        code->loaded = llvm_load(code->kernel->code, code->kernel->code_size, error, sizeof error);
    if (!code->loaded) {
        fprintf(stderr, "%s\n%s\n", program_print(m->program, m->arena), error);
        diag_print(m->diag, stderr, DIAG_TEXT, false);
        code_drop(code);
        return false;
    }
    code->scratch = aligned_alloc(64, (size_t)(code->kernel->scratch_bytes + 127) / 64 * 64);
    return true;
}

void code_run(const Code *code, const int64_t *slots, int64_t items)
{
    for (int k = 0; k < code->kernel->phase_count; k++) {
        void (*entry)(const int64_t *, int64_t, int64_t, void *) =
            (void (*)(const int64_t *, int64_t, int64_t, void *))llvm_symbol(code->loaded,
                                                                             code->kernel->phases[k].entry);
        CU_ASSERT_PTR_NOT_NULL_FATAL(entry);
        entry(slots, 0, items, code->scratch);
    }
}

void code_drop(Code *code)
{
    free(code->scratch);
    llvm_unload(code->loaded);
    kernel_destroy(code->kernel);
    *code = (Code){0};
}

int runnable_targets(const char *const **names)
{
    static const char *const all[] = {"cpu", "cpu:x86-64-v2", "cpu:x86-64-v3", "cpu:x86-64-v4"};
    static const int bits[] = {0, 128, 256, 512};
    Arena *arena = arena_create();
    Diag *diag = diag_create(arena);
    Target host;
    int count = 1;
    if (target_parse(diag, "cpu", &host) && !strncmp(host.triple, "x86_64", 6))
        while (count < 4 && bits[count] <= host.vector_bits)
            count++;
    arena_destroy(arena);
    *names = all;
    return count;
}

void slots_tensor(int64_t *slots, int tensor, void *data, int dims, const int64_t *strides)
{
    slots[slot_of_tensor(tensor)] = (int64_t)(intptr_t)data;
    for (int d = 0; d < dims; d++)
        slots[slot_of_tensor(tensor) + 1 + d] = strides[d];
}
