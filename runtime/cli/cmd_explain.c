/* attune explain: what was recognised, what it costs, what makes it slow. What the compiler does is read off
 * the Program that it makes, not told a second time here. */
#include <string.h>

#include "compiler/attention/factor.h"
#include "compiler/attention/mask.h"
#include "compiler/emit/nvrtc.h"
#include "runtime/cli/mask_view.h"

typedef struct Report {
    MaskView *view;
    const Program *program;
    MaskCount count;
    LoweringChoice choice;
    int slow_count;
} Report;

static void line(const char *what, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void line(const char *what, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    printf("%-12s ", what);
    vprintf(format, list);
    putchar('\n');
    va_end(list);
}

static char *expr_text(const MaskView *view, const Expr *e)
{
    const char *params[SPEC_MAX_PARAMS], *inputs[SPEC_MAX_INPUTS];
    for (int k = 0; k < view->spec->param_count; k++)
        params[k] = view->spec->params[k].name;
    for (int k = 0; k < view->spec->input_count; k++)
        inputs[k] = view->spec->inputs[k].name;
    ExprNames names = {.params = params, .inputs = inputs, .rank = view->spec->rank};
    Text text = {.arena = view->reader.arena};
    expr_print(&text, e, &names);
    return text.data;
}

/* What was recognised ------------------------------------------------------------------------------------ */

static void explain_normaliser(const MaskView *view)
{
    static const char *const meaning[] = {
        [NORM_SOFTMAX] = "softmax, online: one sweep over the keys",
        [NORM_NONE] = "none: the weights are the scores; one sweep",
        [NORM_SUM] = "the sum of the weights; one sweep",
        [NORM_MAGNITUDE] = "the magnitude of the weights' sum; one sweep",
        [NORM_COUNT] = "the number of visible keys; one sweep",
        [NORM_MOMENTS] = "mean and deviation over the visible keys",
        [NORM_MAX] = "the greatest score itself; values are not read",
        [NORM_ENTMAX] = "entmax: a threshold for each row, found by sweeps over the keys",
    };
    const SpecNorm *norm = &view->spec->norm;
    if (norm->elementwise != EXPR_OP_COUNT && norm->kind == NORM_NONE)
        line("normaliser", "%s of each score, no row statistics; one sweep",
             expr_op_info[norm->elementwise].name);
    else
        line("normaliser", "%s%s", meaning[norm->kind], norm->sink ? ", with a sink" : "");
}

static int64_t knob_value(const Program *program, const char *name)
{
    for (int k = 0; k < program->knob_count; k++)
        if (strcmp(program->knobs[k].name, name) == 0)
            return program->knobs[k].value;
    return 0;
}

static int64_t state_extent(const Program *program, int dim)
{
    for (int t = 0; t < program->tensor_count; t++)
        if (program->tensors[t].role == ROLE_STATE)
            return program->tensors[t].extent[dim].mul;
    return 0;
}

/* The form of the evaluation, why it was taken, and what it carries. */
static void explain_lowering(Report *report)
{
    const MaskView *view = report->view;
    const Program *program = report->program;
    const RefProblem *p = &view->problem;
    Arena *arena = view->reader.arena;
    const Spec *spec = spec_specialize(arena, view->spec, p->D, p->E);
    LoweringChoice *choice = &report->choice;
    *choice = factor_choose(arena, spec, factor_asked(spec, view->target.name), target_likes_states(&view->target));
    line("lowering", "%s: %s", lowering_name(choice->lowering), choice->why);
    if (choice->lowering == LOWERING_QUADRATIC)
        return;
    int64_t width = choice->factor.width->op == EXPR_INT ? choice->factor.width->value.i : p->D, chunk = knob_value(program, "chunk");
    line("state", "%lld x %lld f32 for each head%s", (long long)width, (long long)p->E,
         state_extent(program, 2)        ? "; launches can hand it over (state_in, state_out)"
         : choice->factor.ordered ? "; not handed over: a feature looks back"
                                         : "");
    if (chunk > 0 && choice->factor.ordered && choice->lowering == LOWERING_CHUNKED) {
        line("chunk", "%lld tokens: pairs inside it, the state between; time goes with the length", (long long)chunk);
        LinearCost cost = target_linear_cost(&view->target, view->elem, spec->feature_q.body != NULL);
        cost.chunk = chunk;
        if (cost.rate > 0 && spec->decay.kind != DECAY_CHANNEL && !spec->decay.beta)
            line("crossover", "from about %lld tokens on this takes less time than the quadratic form%s",
                 (long long)factor_crossover(width, p->E, cost),
                 factor_asked(spec, view->target.name) == LOWERING_AUTO ? ", which shorter sequences take" : "");
    }
}

typedef struct Contractions {
    int products, general;
} Contractions;

static void count_contraction(void *user, Inst *inst)
{
    Contractions *found = user;
    if (inst->op == TILE_CONTRACT)
        *(inst->expr ? &found->general : &found->products) += 1;
}

static void explain_products(Report *report)
{
    Contractions found = {0, 0};
    program_walk((Program *)(uintptr_t)report->program, count_contraction, &found);
    line("similarity", "%s", expr_text(report->view, report->view->spec->similarity));
    line("products", "%d matrix product%s%s", found.products, found.products == 1 ? "" : "s",
         found.general ? ", and sums that are not products" : "");
}

static void explain_features(const MaskView *view)
{
    const Spec *spec = view->spec;
    const SpecFeature *features[3] = {&spec->feature_q, &spec->feature_k, &spec->feature_v};
    for (int k = 0; k < 3; k++)
        if (features[k]->body)
            line(k == 0   ? "feature q"
                 : k == 1 ? "feature k"
                          : "feature v",
                 "%s%s", expr_text(view, features[k]->body),
                 k == 0 ? " (with the load of the tile)" : " (once for each token, before the main phase)");
    if (spec->decay.kind != DECAY_NONE)
        line("decay", "exp(%s) a step%s", expr_text(view, spec->decay.log_step),
             spec->decay.kind == DECAY_CHANNEL ? ", by channel" : "");
}

/* Key range of one query, in closed form. */
static void explain_range(const MaskView *view)
{
    const Spec *spec = view->spec;
    MaskBox box = {{0}, {0}, {0}, {0}};
    for (int a = 0; a < spec->rank; a++)
        box.i_lo[a] = box.i_hi[a] = expr_var(spec->pool, (VarId)(VAR_I0 + a), TYPE_INT);
    MaskHull hull = mask_key_range(spec, &box, NULL);
    line("mask", "%s", expr_text(view, spec->mask));
    for (int a = 0; a < spec->rank; a++) {
        const char *axis = spec->rank == 1 ? "" : spec->axis_names[a];
        if (!hull.lo[a] && !hull.hi[a])
            line("key range",
                 "%s%sall: nothing bounds it in closed form; tiles are still classified one by one", axis,
                 *axis ? ": " : "");
        else
            line("key range", "%s%sfrom %s up to, not including, %s", axis, *axis ? ": " : "",
                 hull.lo[a] ? expr_text(view, hull.lo[a]) : "the first key",
                 hull.hi[a] ? expr_text(view, hull.hi[a]) : "the end");
    }
}

/* Cost --------------------------------------------------------------------------------------------------- */

static char *bytes_text(Arena *arena, double bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB"};
    int unit = 0;
    while (bytes >= 1024 && unit < 5) {
        bytes /= 1024;
        unit++;
    }
    return arena_printf(arena, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

static double size_of_extent(const MaskView *view, const Extent *extent)
{
    const RefProblem *p = &view->problem;
    int64_t size;
    switch (extent->size) {
    case VAR_SIZE_B: size = p->B; break;
    case VAR_SIZE_H: size = p->H; break;
    case VAR_SIZE_G: size = p->G; break;
    case VAR_SIZE_M: size = p->M; break;
    case VAR_SIZE_N: size = p->N; break;
    case VAR_SIZE_D: size = p->D; break;
    case VAR_SIZE_E: size = p->E; break;
    case VAR_SIZE_M0: case VAR_SIZE_M1: case VAR_SIZE_M2: size = p->m_axis[extent->size - VAR_SIZE_M0]; break;
    case VAR_SIZE_N0: case VAR_SIZE_N1: case VAR_SIZE_N2: size = p->n_axis[extent->size - VAR_SIZE_N0]; break;
    default: size = 1; break;
    }
    int64_t div = extent->div > 0 ? extent->div : 1;
    return (double)((size + div - 1) / div) * (double)extent->mul;
}

static void explain_memory(const Report *report)
{
    const MaskView *view = report->view;
    const RefProblem *p = &view->problem;
    Arena *arena = view->reader.arena;
    double rows = (double)p->B * (double)p->H * (double)p->M,
           keys = (double)p->B * (double)p->G * (double)p->N, work = 0;
    double operands =
        (rows * (double)(p->D + p->E) + keys * (double)(p->D + p->E)) * elem_type_size(view->elem);
    for (int t = 0; t < report->program->tensor_count; t++) {
        const Tensor *tensor = &report->program->tensors[t];
        double size = elem_type_size(tensor->elem);
        for (int d = 0; d < tensor->dim_count; d++)
            size *= size_of_extent(view, &tensor->extent[d]);
        work += tensor->role == ROLE_WORKSPACE ? size : 0;
    }
    line("memory", "q, k, v, o %s; workspaces %s; all scores at once would be %s",
         bytes_text(arena, operands), bytes_text(arena, work), bytes_text(arena, report->count.pairs * 4));
}

static void explain_tiles(const Report *report)
{
    const MaskCount *c = &report->count;
    double tiles = c->empty + c->partial + c->full, visited = c->partial + c->full;
    line("tiles", "%s%.0f: %.0f full, %.0f partial, %.0f empty; %.2f%% are visited",
         c->tiles_sampled ? "about " : "", tiles, c->full, c->partial, c->empty,
         tiles > 0 ? 100 * visited / tiles : 0);
    line("density", "%s%.4f%% of pairs are visible%s", c->pairs_sampled ? "about " : "",
         c->pairs > 0 ? 100 * c->visible / c->pairs : 0, c->varies ? "" : ", the same in every head");
    if (visited > 0)
        line("speed-up", "%.2fx over a dense mask, when time goes with visited tiles", tiles / visited);
}

/* Why slow ----------------------------------------------------------------------------------------------- */

static void slow(Report *report, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void slow(Report *report, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    printf("%-12s ", report->slow_count++ == 0 ? "slow" : "");
    vprintf(format, list);
    putchar('\n');
    va_end(list);
}

static void slow_contraction(void *user, Inst *inst)
{
    Report *report = user;
    if (inst->op != TILE_CONTRACT || !inst->expr)
        return;
    slow(report, "%s: a sum over channels that is not a product of two tiles; no matrix units",
         inst->label ? inst->label : "contract");
}

typedef struct Functions {
    int count;
    bool reads_both;
    const Spec *spec;
} Functions;

static void count_function(void *user, const Expr *e)
{
    Functions *found = user;
    switch (e->op) {
    case EXPR_EXP:
    case EXPR_EXP2:
    case EXPR_LOG:
    case EXPR_LOG2:
    case EXPR_LOG1P:
    case EXPR_SIN:
    case EXPR_COS:
    case EXPR_TANH:
    case EXPR_SIGMOID: case EXPR_ERF: case EXPR_POW:
        found->count += e->type == TYPE_FLOAT;
        break;
    case EXPR_INPUT:
        found->reads_both = found->reads_both || mask_array_side(found->spec, e) == MASK_SIDE_BOTH;
        break;
    default:
        break;
    }
}

static void explain_slow(Report *report)
{
    MaskView *view = report->view;
    const Spec *spec = view->spec;
    const MaskCount *c = &report->count;
    program_walk((Program *)(uintptr_t)report->program, slow_contraction, report);
    Functions functions = {.spec = spec};
    expr_walk(view->reader.arena, spec->score, count_function, &functions);
    if (functions.count > 0)
        slow(report, "score: %d transcendental function%s a pair, besides the normaliser's", functions.count,
             functions.count == 1 ? "" : "s");
    if (functions.reads_both)
        slow(report, "score: reads an array by query and key together: one load a pair");
    Functions in_mask = {.spec = spec};
    expr_walk(view->reader.arena, spec->mask, count_function, &in_mask);
    if (in_mask.reads_both)
        slow(report, "mask: reads an array by query and key together, whose range no tile knows: no tile can "
                     "be skipped for it");
    if (spec->norm.kind == NORM_MOMENTS || spec->norm.kind == NORM_ENTMAX)
        slow(report, "normalize: needs several sweeps over the keys");
    bool tiled = report->choice.lowering == LOWERING_QUADRATIC;
    if (tiled && c->partial > 0.5 * (c->partial + c->full) && c->partial + c->full > 0)
        slow(report,
             "mask: %.0f%% of visited tiles are partial, where pairs are tested one by one; smaller tiles "
             "(--set block_n=...) may help",
             100 * c->partial / (c->partial + c->full));
    if (c->pairs > 0 && c->visible == 0)
        slow(report, "mask: no pair is visible at this shape");
    if (report->slow_count == 0)
        line("slow", "nothing stands out");
}

/* Who makes code for a GPU. */
static void explain_code(const MaskView *view)
{
    char absence[600];
    nvrtc_explain_absence(absence, sizeof absence);
    if (view->target.kind == TARGET_CUDA && !absence[0])
        line("code", "CUDA C++ through NVRTC %s", nvrtc_version());
    else if (view->target.kind == TARGET_CUDA)
        line("code", "%s: NVRTC was not found (%s)",
             ATTUNE_HAVE_PTX ? "PTX through LLVM instead, without the fast path of this target" : "none", absence);
    else if (view->target.kind == TARGET_PTX)
        line("code", "PTX for %s through LLVM; the device's driver compiles it", view->target.arch);
}

static int explain(MaskView *view)
{
    Report report = {.view = view, .program = view->program, .count = mask_survey_count(view->survey, -1, -1)};
    printf("%-12s %s on %s: ", "attention", view->spec->name, view->target.name);
    shape_print(stdout, &view->data.shape, view->spec->rank);
    printf(" %s\n", elem_type_name(view->elem));
    explain_normaliser(view);
    explain_lowering(&report);
    explain_products(&report);
    explain_features(view);
    explain_range(view);
    if (report.choice.lowering == LOWERING_QUADRATIC)
        explain_tiles(&report);
    explain_memory(&report);
    explain_code(view);
    explain_slow(&report);
    return EXIT_DONE;
}

int cmd_explain(const Arguments *arguments)
{
    if (strcmp(option_value(arguments, OPTION_DUMP, ""), "help") == 0) {
        compile_print_passes(stdout);
        return EXIT_DONE;
    }
    return mask_view_run(arguments, explain);
}
