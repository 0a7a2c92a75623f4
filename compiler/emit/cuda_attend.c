/* Attention phases on Hopper: the generated struct that cuda_attend.cuh schedules, and the launch it needs. */
#include <stdio.h>
#include <string.h>

#include "cuda_attend.h"

enum { LISTED_LEAST = 16, LISTED_MOST = 768 };

typedef struct Schedule {
    int stages, ahead, listed, producer_registers, consumer_registers, shared;
    bool early, pingpong;
} Schedule;

/* Floats that a warpgroup tabulates of a tile. */
static int table_floats(const AttendForm *f)
{
    return f->table_count * (64 + f->keys);
}

static int shared_bytes(const AttendForm *f, const Schedule *s)
{
    int d_panels = (f->D + 63) / 64, e_panels = (f->E + 63) / 64;
    int q = d_panels * f->rows * 128, k = d_panels * f->keys * 128, v = e_panels * f->keys * 128;
    return (s->early ? 2 : 1) * q + s->stages * (k + v) + 208 + 96 + 64 + 8 * s->listed + f->rows / 64 * 8 * table_floats(f);
}

/* Two stages of keys and values, and the next queries beside these when they fit. */
static bool choose_schedule(const CudaGen *g, const AttendForm *f, Schedule *s)
{
    int groups = f->rows / 64;
    *s = (Schedule){.stages = 2, .ahead = 3, .early = true, .pingpong = groups > 1};
    /* What setmaxnreg moves between warpgroups: a launch gives every thread the same. */
    static const int registers[4][2] = {{0, 0}, {0, 0}, {40, 232}, {32, 160}};
    s->producer_registers = registers[groups][0];
    s->consumer_registers = registers[groups][1];
    if (shared_bytes(f, s) + 8 * LISTED_LEAST > g->target->shared_bytes)
        s->early = false;
    int left = g->target->shared_bytes - shared_bytes(f, s);
    s->listed = left / 8 / 16 * 16 < LISTED_MOST ? left / 8 / 16 * 16 : LISTED_MOST;
    s->shared = shared_bytes(f, s);
    return left >= 8 * LISTED_LEAST;
}

/* Whether what full tiles compute depends on where the tile lies. */
static bool place_matters(const AttendForm *f)
{
    const Block *tile = f->bodies[f->body_count - 1];
    for (const Inst *inst = tile->first; inst; inst = inst->next) {
        if (inst == f->k || inst == f->v || inst == f->partial || inst->type.axis_count == 0)
            continue;
        if (inst->op == TILE_INDEX && inst->axis == f->n)
            continue;
        bool plane = inst_has_axis(inst, f->m);
        for (int k = 0; plane && k < inst->arg_count; k++) {
            const Inst *a = inst->args[k];
            bool row_or_plane = inst_has_axis(a, f->m) || f->at_root[a->id];
            if (!row_or_plane && a != f->k && a != f->v && a->op != TILE_INDEX)
                return true;
        }
    }
    return false;
}

static void write_head(CudaGen *g, const AttendForm *f, const Schedule *s)
{
    cuda_line(g, "static constexpr int RANK = %d, WGS = %d, BLOCK_M = %d, BLOCK_N = %d, D = %d, E = %d;\n", f->rank, f->rows / 64,
              f->rows, f->keys, f->D, f->E);
    cuda_line(g, "static constexpr int STAGES = %d, AHEAD = %d, LISTED = %d, TABLES = %d;\n", s->stages, s->ahead, s->listed, table_floats(f));
    cuda_line(g, "static constexpr bool EARLY = %d, PINGPONG = %d, TILE_IN_FULL = %d;\n", s->early, s->pingpong, place_matters(f));
    cuda_line(g, "static constexpr int PRODUCER_REGS = %d, CONSUMER_REGS = %d;\n", s->producer_registers, s->consumer_registers);
    cuda_line(g, "typedef Launch_%s Launch;\n", g->phase->name);
}

static KernelMap map_of(const AttendForm *f, const Inst *load, bool queries, int width)
{
    KernelMap map = {.tensor = load->tensor, .rank = f->rank, .width = width, .queries = queries};
    for (int a = 0; a < f->rank; a++)
        map.box[a] = queries ? f->block_m[a] : f->block_n[a];
    return map;
}

bool cuda_attend(CudaGen *g, KernelPhase *out)
{
    AttendForm form;
    Schedule schedule;
    const char *why;
    if (!attend_recognise(g, &form, &why) || !choose_schedule(g, &form, &schedule))
        return false;
    const char *phase = g->phase->name;
    out->threads = form.rows * 2 + 128;
    out->shared_bytes = schedule.shared;
    out->persistent = true;
    out->map_count = 3;
    out->maps[0] = map_of(&form, form.q, true, form.D);
    out->maps[1] = map_of(&form, form.k, false, form.D);
    out->maps[2] = map_of(&form, form.v, false, form.E);
    cuda_line(g, "struct __align__(64) Launch_%s {\n", phase);
    cuda_line(g, "    struct __align__(64) { unsigned long long words[16]; } map[3];\n");
    cuda_line(g, "    long long slots[%d];\n", slot_of_tensor(g->program->tensor_count));
    cuda_line(g, "};\n\n");
    attend_products_wrappers(g, &form);
    cuda_line(g, "struct Kernel_%s {\n", phase);
    g->indent += 4;
    write_head(g, &form, &schedule);
    attend_hooks(g, &form);
    attend_products(g, &form);
    g->indent -= 4;
    cuda_line(g, "};\n");
    cuda_line(g, "static_assert(Shape<Kernel_%s>::BYTES == %d, \"shared memory\");\n\n", phase, schedule.shared);
    cuda_line(g, "extern \"C\" __global__ void __launch_bounds__(%d, 1) %s(const __grid_constant__ Launch_%s P)\n", out->threads, out->entry,
              phase);
    cuda_line(g, "{\n");
    cuda_line(g, "    extern __shared__ __align__(1024) unsigned char attune_shared[];\n");
    cuda_line(g, "    attend<Kernel_%s>(P, attune_shared);\n", phase);
    cuda_line(g, "}\n\n");
    return true;
}
