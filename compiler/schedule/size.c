/* size: the knobs (tile boxes) get their values, axes their extents; constants fold into every Expr and grid. */
#include <string.h>

#include "schedule.h"

static const Expr *knob_leaf(void *user, const Expr *leaf)
{
    const Program *program = user;
    if (leaf->op == EXPR_VAR && leaf->index >= (int)VAR_KNOB(0) && leaf->index < (int)VAR_KNOB(PROGRAM_MAX_KNOBS))
        return expr_int(program->pool, program->knobs[leaf->index - VAR_KNOB(0)].value);
    return NULL;
}

static void size_inst(void *user, Inst *inst)
{
    Program *program = user;
    if (inst->expr)
        inst->expr = expr_substitute(program->pool, inst->expr, knob_leaf, program);
}

static void size_extent(const Program *program, Extent *extent)
{
    if (extent->div_knob < 0)
        return;
    extent->div = program->knobs[extent->div_knob].value;
    extent->div_knob = -1;
}

void schedule_size(Program *program, Diag *diag, const SizeChoice *choice)
{
    static const char *const suffix[SPEC_MAX_RANK] = {"", "1", "2"};
    for (int k = 0; k < program->knob_count; k++) {
        Knob *knob = &program->knobs[k];
        for (int a = 0; a < SPEC_MAX_RANK; a++) {
            if (strncmp(knob->name, "block_m", 7) == 0 && strcmp(knob->name + 7, suffix[a]) == 0)
                knob->value = choice->block_m[a];
            else if (strncmp(knob->name, "block_n", 7) == 0 && strcmp(knob->name + 7, suffix[a]) == 0)
                knob->value = choice->block_n[a];
        }
        if (strcmp(knob->name, "chunk") == 0)
            knob->value = choice->chunk;
        if (strcmp(knob->name, "segment") == 0) { /* of whole chunks; it is no tile */
            knob->value = choice->segment;
            if (knob->value < choice->chunk || knob->value % choice->chunk || knob->value > 1 << 20)
                diag_error(diag, SPAN_NONE, "schedule-value", "schedule: segment = %lld must be a multiple of chunk = %lld up to 1048576",
                           (long long)knob->value, (long long)choice->chunk);
            continue;
        }
        if (knob->value < 1 || knob->value > 4096)
            diag_error(diag, SPAN_NONE, "schedule-value", "schedule: %s = %lld must be between 1 and 4096", knob->name, (long long)knob->value);
    }
    if (diag->errors)
        return;
    for (int a = 0; a < program->axis_count; a++) {
        Axis *axis = &program->axes[a];
        axis->extent_expr = expr_substitute(program->pool, axis->extent_expr, knob_leaf, program);
        if (axis->extent_expr->op != EXPR_INT || axis->extent_expr->value.i < 1 || axis->extent_expr->value.i > 1 << 20) {
            diag_error(diag, SPAN_NONE, "schedule-value", "axis %s has no usable extent: tile sizes are too large", axis->name);
            return;
        }
        axis->extent = axis->extent_expr->value.i;
    }
    program_walk(program, size_inst, program);
    for (int t = 0; t < program->tensor_count; t++)
        for (int d = 0; d < program->tensors[t].dim_count; d++)
            size_extent(program, &program->tensors[t].extent[d]);
    for (int p = 0; p < program->phase_count; p++)
        for (int g = 0; g < program->phases[p].grid_count; g++)
            size_extent(program, &program->phases[p].grid[g].extent);
    program->stage = STAGE_SIZED;
}
