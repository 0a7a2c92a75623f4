/* The meaning of a Spec, row by row. For one query row i of head h:
 *
 *   A = { j : mask }    s_j = similarity    t_j = score(s_j)
 *   u_j = lift(t_j) * prod_{t = j+1..i} exp(log_step_t)         (lift = exp for softmax, else the identity)
 *   w_j = normalize(u)  o = output(sum_{j in A} w_j v'_j)
 *
 * Channel decay and the delta rule replace the dot product by the state's recurrence read backwards from i:
 *   r = q'_i;  for j = i, i-1, ...:
 *       s_j = beta_j (r . k'_j);   r -= beta_j k'_j (k'_j . r);   r *= exp(log_step_j)
 * which is o_i = S_i q'_i of S_t = S_{t-1} diag(alpha_t) (I - beta_t k_t k_t^T) + beta_t v_t k_t^T. A masked
 * token neither writes nor erases, but its decay step counts. Keys after i have no path to i under a decay:
 * they get 0.
 *
 * An empty row gives 0, before and after `output`. Nothing guards a zero denominator but `eps` and `min`. */
#include "reference.h"

#include <math.h>
#include <string.h>

#include "reference_code.h"

typedef struct Feature {
    RefCode *code;   /* NULL: the identity */
    bool uses_head;  /* of k and v: differs between the query heads of a group */
    int64_t width;
    double *rows;    /* [tokens][width] */
    double *raw;     /* [tokens][raw_width] */
    int64_t raw_width;
} Feature;

typedef struct Run {
    Arena *arena;
    const Spec *spec;
    const RefProblem *p;
    bool exact;
    ElemType plain_type;
    int64_t step;
    RefResult *result;
    RefEnv env;
    int64_t total_rows; /* rows of all sequences for one head */
    Feature q, k, v;
    RefCode *similarity, *score, *mask, *output, *log_step, *beta;
    RefCode *sink, *eps, *min, *power, *gain, *bias, *alpha;
    double *log_steps; /* scalar: prefix sums G; channel: [token][q width] */
    double *betas;
    int64_t steps;     /* tokens in log_steps */
    /* of the row */
    bool *visible;
    double *s, *t, *w, *r;
    double *o, *out;
    int64_t seen;
} Run;

static double narrow(const Run *run, double value) { return run->exact ? value : (float)value; }
static double stored(const Run *run, double value)
{
    return run->exact ? value : ref_round(value, run->plain_type);
}

static RefCode *code_for(Run *run, const Expr *e, RefLaneKind lanes)
{
    return e ? ref_code_build(run->arena, e, lanes) : NULL;
}

static double scalar_or(Run *run, RefCode *code, double otherwise)
{
    return code ? ref_code_scalar(code, &run->env) : otherwise;
}

static void set_position(Run *run, int64_t flat, const int64_t *axis)
{
    for (int a = run->spec->rank - 1; a > 0; a--) {
        run->env.position[a] = axis[a] > 0 ? flat % axis[a] : 0;
        flat = axis[a] > 0 ? flat / axis[a] : 0;
    }
    run->env.position[0] = flat;
}

/* Features --------------------------------------------------------------------------------------------- */

static void feature_prepare(Run *run, Feature *f, const SpecFeature *spec, int64_t raw_width, int64_t tokens)
{
    f->raw_width = f->width = raw_width;
    if (spec->body) {
        f->code = code_for(run, spec->body, REF_LANES_CHANNELS);
        f->uses_head = expr_uses(spec->body, VAR_H);
        RefCode *width = code_for(run, spec->width, REF_LANES_NONE);
        int stride;
        ref_code_head(width, &run->env);
        ref_code_row(width, &run->env);
        f->width = ref_code_lanes(width, &run->env, 0, 1, &stride)->i;
        if (f->width < 0)
            f->width = 0;
    }
    f->raw = ARENA_ARRAY(run->arena, double, (size_t)(tokens * f->raw_width));
    f->rows = ARENA_ARRAY(run->arena, double, (size_t)(tokens * f->width));
}

static void feature_run(Run *run, Feature *f, const RefTensor *tensor, int64_t batch, int64_t head,
                        int64_t first, int64_t tokens, int64_t offset, const int64_t *axis)
{
    RefEnv *env = &run->env;
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t c = 0; c < f->raw_width; c++)
            f->raw[t * f->raw_width + c] = ref_load(tensor->data, tensor->type, batch * tensor->stride[0]
                + head * tensor->stride[1] + (first + t) * tensor->stride[2] + c * tensor->stride[3]);
    if (!f->code) {
        memcpy(f->rows, f->raw, (size_t)(tokens * f->width) * sizeof(double));
        return;
    }
    env->x = f->raw;
    env->x_width = f->raw_width;
    ref_code_head(f->code, env);
    for (int64_t t = 0; t < tokens; t++) {
        set_position(run, t + offset, axis);
        env->x_row = t;
        ref_code_row(f->code, env);
        for (int64_t c = 0; c < f->width; c += REF_LANES) {
            int stride, count = (int)(f->width - c < REF_LANES ? f->width - c : REF_LANES);
            const ExprValue *value = ref_code_lanes(f->code, env, c, count, &stride);
            for (int l = 0; l < count; l++)
                f->rows[t * f->width + c + l] = stored(run, value[l * stride].f);
        }
    }
}

/* Decay ------------------------------------------------------------------------------------------------ */

static void decay_run(Run *run)
{
    const SpecDecay *decay = &run->spec->decay;
    RefEnv *env = &run->env;
    int64_t width = run->q.width;
    if (decay->beta)
        ref_code_head(run->beta, env);
    if (decay->log_step)
        ref_code_head(run->log_step, env);
    double sum = 0;
    for (int64_t t = 0; t < run->steps; t++) {
        int stride;
        set_position(run, t, env->n_axis);
        if (decay->beta) {
            ref_code_row(run->beta, env);
            run->betas[t] = ref_code_lanes(run->beta, env, 0, 1, &stride)->f;
        }
        if (!decay->log_step)
            continue;
        ref_code_row(run->log_step, env);
        if (decay->kind == DECAY_SCALAR) {
            sum = narrow(run, sum + ref_code_lanes(run->log_step, env, 0, 1, &stride)->f);
            run->log_steps[t] = sum;
            continue;
        }
        for (int64_t c = 0; c < width; c += REF_LANES) {
            int count = (int)(width - c < REF_LANES ? width - c : REF_LANES);
            const ExprValue *value = ref_code_lanes(run->log_step, env, c, count, &stride);
            for (int l = 0; l < count; l++)
                run->log_steps[t * width + c + l] = value[l * stride].f;
        }
    }
}

/* log of the decay between key j and query position i. */
static double decay_between(const Run *run, int64_t i, int64_t j)
{
    if (j > i)
        return -INFINITY;
    const double *g = run->log_steps;
    return g[i] - g[j];
}

/* The similarities of a row under channel decay or the delta rule. */
static void recurrent_similarity(Run *run, int64_t i)
{
    const SpecDecay *decay = &run->spec->decay;
    int64_t width = run->q.width, N = run->env.N;
    double *r = run->r;
    memcpy(r, run->env.q, (size_t)width * sizeof *r);
    for (int64_t j = 0; j < N; j++)
        run->s[j] = 0;
    for (int64_t j = i; j >= 0; j--) {
        if (j < N && run->visible[j]) {
            const double *k = run->k.rows + j * run->k.width;
            double dot = 0, beta = decay->beta ? run->betas[j] : 1;
            for (int64_t c = 0; c < width; c++)
                dot = narrow(run, dot + narrow(run, r[c] * k[c]));
            run->s[j] = narrow(run, beta * dot);
            for (int64_t c = 0; decay->beta && c < width; c++)
                r[c] = narrow(run, r[c] - narrow(run, run->s[j] * k[c]));
        }
        for (int64_t c = 0; decay->log_step && c < width; c++) {
            double step = decay->kind == DECAY_CHANNEL ? run->log_steps[j * width + c]
                : run->log_steps[j] - (j ? run->log_steps[j - 1] : 0);
            r[c] = narrow(run, r[c] * narrow(run, exp(step)));
        }
    }
}

/* Normalisers ------------------------------------------------------------------------------------------ */

typedef struct RowStats { double max, sum, lse; } RowStats;

/* Sum over j in A of f(t_j - tau) for entmax, where f(z) = [z]_+^(1 / (alpha - 1)), z already scaled by alpha
 * - 1. */
static double entmax_mass(const Run *run, const double *z, double tau, double power)
{
    double mass = 0;
    for (int64_t j = 0; j < run->env.N; j++)
        if (run->visible[j] && z[j] > tau)
            mass += pow(z[j] - tau, power);
    return mass;
}

static void entmax(Run *run)
{
    double alpha = scalar_or(run, run->alpha, 1.5), power = 1 / (alpha - 1), largest = -INFINITY;
    int64_t N = run->env.N;
    for (int64_t j = 0; j < N; j++) {
        run->w[j] = run->visible[j] ? (alpha - 1) * run->t[j] : -INFINITY;
        largest = run->w[j] > largest ? run->w[j] : largest;
    }
    double low = largest - 1, high = largest;
    for (int n = 0; n < 200 && low < high; n++) {
        double middle = low + (high - low) / 2;
        if (middle <= low || middle >= high)
            break;
        if (entmax_mass(run, run->w, middle, power) >= 1)
            low = middle;
        else
            high = middle;
    }
    double mass = entmax_mass(run, run->w, low, power);
    for (int64_t j = 0; j < N; j++)
        run->w[j] = run->visible[j] && run->w[j] > low ? pow(run->w[j] - low, power) / mass : 0;
}

/* t and visible -> w; w of invisible keys is left 0. */
static RowStats normalize(Run *run, int64_t i)
{
    const SpecNorm *norm = &run->spec->norm;
    const SpecDecay *decay = &run->spec->decay;
    int64_t N = run->env.N;
    bool scalar_decay = decay->kind == DECAY_SCALAR && !decay->beta;
    double *w = run->w, *t = run->t;
    RowStats stats = {-INFINITY, 0, -INFINITY};

    for (int64_t j = 0; j < N; j++) {
        w[j] = 0;
        if (!run->visible[j])
            continue;
        if (scalar_decay) {
            double between = decay_between(run, i, j);
            t[j] = norm->kind == NORM_SOFTMAX ? narrow(run, t[j] + between)
                : between == -INFINITY ? 0 : narrow(run, t[j] * narrow(run, exp(between)));
        }
        if (t[j] > stats.max || isnan(t[j]))
            stats.max = t[j];
        stats.sum = narrow(run, stats.sum + t[j]);
    }
    if (!run->seen)
        return (RowStats){-INFINITY, 0, -INFINITY};

    double count = (double)run->seen;
    switch (norm->kind) {
    case NORM_SOFTMAX: {
        if (stats.max == -INFINITY) { /* weights of 0 alone: as if nothing were visible */
            run->seen = 0;
            return (RowStats){-INFINITY, 0, -INFINITY};
        }
        double sink = run->sink ? scalar_or(run, run->sink, 0) : -INFINITY;
        stats.max = sink > stats.max ? sink : stats.max;
        stats.sum = 0;
        for (int64_t j = 0; j < N; j++) {
            if (!run->visible[j])
                continue;
            w[j] = narrow(run, exp(narrow(run, t[j] - stats.max)));
            stats.sum = narrow(run, stats.sum + w[j]);
        }
        if (run->sink)
            stats.sum = narrow(run, stats.sum + narrow(run, exp(narrow(run, sink - stats.max))));
        for (int64_t j = 0; j < N; j++)
            w[j] = narrow(run, w[j] / stats.sum);
        stats.lse = narrow(run, stats.max + narrow(run, log(stats.sum)));
        break;
    }
    case NORM_NONE:
    case NORM_MAX:
        for (int64_t j = 0; j < N; j++)
            w[j] = run->visible[j] ? t[j] : 0;
        break;
    case NORM_SUM:
    case NORM_MAGNITUDE: {
        double sum = norm->kind == NORM_SUM ? stats.sum : fabs(stats.sum);
        double below = narrow(run, sum + scalar_or(run, run->eps, 0));
        double least = scalar_or(run, run->min, -INFINITY);
        below = below < least ? least : below;
        for (int64_t j = 0; j < N; j++)
            w[j] = run->visible[j] ? narrow(run, t[j] / below) : 0;
        break;
    }
    case NORM_COUNT: {
        double below = narrow(run, pow(count, scalar_or(run, run->power, 1)));
        for (int64_t j = 0; j < N; j++)
            w[j] = run->visible[j] ? narrow(run, t[j] / below) : 0;
        break;
    }
    case NORM_MOMENTS: {
        double mean = narrow(run, stats.sum / count), square = 0;
        for (int64_t j = 0; j < N; j++)
            if (run->visible[j])
                square = narrow(run, square + narrow(run, (t[j] - mean) * (t[j] - mean)));
        double below = narrow(run, sqrt(square / count) + scalar_or(run, run->eps, 0));
        double gain = scalar_or(run, run->gain, 1), bias = scalar_or(run, run->bias, 0);
        for (int64_t j = 0; j < N; j++)
            w[j] = run->visible[j] ? narrow(run, gain * (t[j] - mean) / below + bias) : 0;
        break;
    }
    case NORM_ENTMAX:
        entmax(run);
        break;
    }
    return stats;
}

/* Rows ------------------------------------------------------------------------------------------------- */

/* Evaluates `code` for the keys of every block that has a visible one. */
static void run_keys(Run *run, RefCode *code, double *out)
{
    int64_t N = run->env.N;
    ref_code_row(code, &run->env);
    for (int64_t j = 0; j < N; j += REF_LANES) {
        int stride, count = (int)(N - j < REF_LANES ? N - j : REF_LANES);
        bool any = false;
        for (int l = 0; l < count; l++)
            any |= run->visible[j + l];
        if (!any)
            continue;
        const ExprValue *value = ref_code_lanes(code, &run->env, j, count, &stride);
        for (int l = 0; l < count; l++)
            out[j + l] = narrow(run, value[l * stride].f);
    }
}

static void run_mask(Run *run)
{
    int64_t N = run->env.N;
    run->seen = 0;
    ref_code_row(run->mask, &run->env);
    for (int64_t j = 0; j < N; j += REF_LANES) {
        int stride, count = (int)(N - j < REF_LANES ? N - j : REF_LANES);
        const ExprValue *value = ref_code_lanes(run->mask, &run->env, j, count, &stride);
        for (int l = 0; l < count; l++)
            run->seen += run->visible[j + l] = value[l * stride].i != 0;
    }
}

static void weighted_sum(Run *run, const RowStats *stats)
{
    int64_t N = run->env.N, width = run->v.width;
    for (int64_t c = 0; c < width; c++)
        run->o[c] = run->spec->norm.kind == NORM_MAX ? stats->max : 0;
    if (run->spec->norm.kind == NORM_MAX)
        return;
    for (int64_t j = 0; j < N; j++) {
        if (!run->visible[j] || run->w[j] == 0)
            continue;
        double w = stored(run, run->w[j]);
        const double *v = run->v.rows + j * width;
        if (run->exact) {
            for (int64_t c = 0; c < width; c++)
                run->o[c] += w * v[c];
        } else {
            for (int64_t c = 0; c < width; c++)
                run->o[c] = (float)run->o[c] + (float)w * (float)v[c];
        }
    }
}

static void run_row(Run *run, int64_t row, int64_t out_row)
{
    RefEnv *env = &run->env;
    int64_t width = run->v.width, i = row + run->p->offset;
    const SpecDecay *decay = &run->spec->decay;
    set_position(run, i, env->m_axis);
    env->q = run->q.rows + row * run->q.width;
    run_mask(run);
    if (decay->kind == DECAY_CHANNEL || decay->beta)
        recurrent_similarity(run, i);
    else
        run_keys(run, run->similarity, run->s);
    run_keys(run, run->score, run->t);
    RowStats stats = normalize(run, i);
    for (int kind = 0; kind < RETURN_KIND_COUNT; kind++)
        if (run->result->returns[kind])
            run->result->returns[kind][out_row] =
                kind == RETURN_LSE ? stats.lse : kind == RETURN_MAX ? stats.max : stats.sum;
    if (!run->result->o)
        return;
    double *out = run->result->o + out_row * width;
    weighted_sum(run, &stats);
    if (!run->seen) {
        for (int64_t c = 0; c < width; c++)
            out[c] = 0;
        return;
    }
    if (run->output)
        ref_code_row(run->output, env);
    for (int64_t c = 0; c < width; c += REF_LANES) {
        int stride = 1, count = (int)(width - c < REF_LANES ? width - c : REF_LANES);
        const ExprValue *value = run->output ? ref_code_lanes(run->output, env, c, count, &stride) : NULL;
        for (int l = 0; l < count; l++)
            out[c + l] = stored(run, value ? value[l * stride].f : run->o[c + l]);
    }
}

static void begin_sequence(Run *run, int64_t b)
{
    const RefProblem *p = run->p;
    RefEnv *env = &run->env;
    env->b = b;
    env->base_q = p->cu_q ? p->cu_q[b] : 0;
    env->base_k = p->cu_k ? p->cu_k[b] : 0;
    env->M = p->cu_q ? p->cu_q[b + 1] - p->cu_q[b] : p->M;
    env->N = p->cu_k ? p->cu_k[b + 1] - p->cu_k[b] : p->N;
    for (int a = 0; a < SPEC_MAX_RANK; a++) {
        env->m_axis[a] = run->spec->rank > 1 ? p->m_axis[a] : a ? 1 : env->M;
        env->n_axis[a] = run->spec->rank > 1 ? p->n_axis[a] : a ? 1 : env->N;
    }
    ref_input_extents(env);
}

static void run_head(Run *run, int64_t h)
{
    const RefProblem *p = run->p;
    RefEnv *env = &run->env;
    int64_t group = p->G ? p->H / p->G : 1, g = group ? h / group : h;
    bool ragged = p->cu_q || p->cu_k, new_group = h == 0 || env->g != g;
    int64_t batch = ragged ? 0 : env->b;
    env->h = h;
    env->g = g;
    feature_run(run, &run->q, &p->q, batch, h, env->base_q, env->M, p->offset, env->m_axis);
    if (new_group || run->k.uses_head)
        feature_run(run, &run->k, &p->k, batch, g, env->base_k, env->N, 0, env->n_axis);
    if (new_group || run->v.uses_head)
        feature_run(run, &run->v, &p->v, batch, g, env->base_k, env->N, 0, env->n_axis);
    env->k = run->k.rows;
    env->q_width = run->q.width;
    env->k_width = run->k.width;
    env->o = run->o;
    env->o_width = run->v.width;
    env->s = run->s;
    if (run->log_step || run->beta)
        decay_run(run);
    ref_code_head(run->mask, env);
    ref_code_head(run->similarity, env);
    ref_code_head(run->score, env);
    if (run->output)
        ref_code_head(run->output, env);
    int64_t first = ragged ? h * run->total_rows + env->base_q : (env->b * p->H + h) * p->M;
    for (int64_t row = 0; row < env->M; row += run->step)
        run_row(run, row, first + row);
}

static void run_all(Run *run)
{
    const Spec *spec = run->spec;
    const RefProblem *p = run->p;
    int64_t longest_q = 0, longest_k = 0;
    run->env.spec = spec;
    run->env.problem = p;
    run->env.plain = !run->exact;
    run->total_rows = p->cu_q ? p->cu_q[p->B] : p->M;
    for (int64_t b = 0; b < p->B; b++) {
        begin_sequence(run, b);
        longest_q = run->env.M > longest_q ? run->env.M : longest_q;
        longest_k = run->env.N > longest_k ? run->env.N : longest_k;
    }
    feature_prepare(run, &run->q, &spec->feature_q, p->D, longest_q);
    feature_prepare(run, &run->k, &spec->feature_k, p->D, longest_k);
    feature_prepare(run, &run->v, &spec->feature_v, p->E, longest_k);
    run->similarity = code_for(run, spec->similarity, REF_LANES_KEYS);
    run->score = code_for(run, spec->score, REF_LANES_KEYS);
    run->mask = code_for(run, spec->mask, REF_LANES_KEYS);
    run->output = code_for(run, spec->output, REF_LANES_CHANNELS);
    run->log_step = code_for(run, spec->decay.log_step,
                             spec->decay.kind == DECAY_CHANNEL ? REF_LANES_CHANNELS : REF_LANES_NONE);
    run->beta = code_for(run, spec->decay.beta, REF_LANES_NONE);
    run->sink = code_for(run, spec->norm.sink, REF_LANES_NONE);
    run->eps = code_for(run, spec->norm.eps, REF_LANES_NONE);
    run->min = code_for(run, spec->norm.min, REF_LANES_NONE);
    run->power = code_for(run, spec->norm.power, REF_LANES_NONE);
    run->gain = code_for(run, spec->norm.gain, REF_LANES_NONE);
    run->bias = code_for(run, spec->norm.bias, REF_LANES_NONE);
    run->alpha = code_for(run, spec->norm.alpha, REF_LANES_NONE);

    int64_t reach = longest_q + (p->offset > 0 ? p->offset : 0);
    run->steps = longest_k > reach ? longest_k : reach;
    size_t width = (size_t)run->q.width;
    run->log_steps = ARENA_ARRAY(run->arena, double,
                                 (size_t)run->steps * (spec->decay.kind == DECAY_CHANNEL ? width : 1));
    run->betas = ARENA_ARRAY(run->arena, double, (size_t)run->steps);
    run->visible = ARENA_ARRAY(run->arena, bool, (size_t)longest_k);
    run->s = ARENA_ARRAY(run->arena, double, (size_t)longest_k + REF_LANES);
    run->t = ARENA_ARRAY(run->arena, double, (size_t)longest_k);
    run->w = ARENA_ARRAY(run->arena, double, (size_t)longest_k);
    run->r = ARENA_ARRAY(run->arena, double, width);
    run->o = ARENA_ARRAY(run->arena, double, (size_t)run->v.width);
    for (int64_t b = 0; b < p->B; b++) {
        begin_sequence(run, b);
        for (int64_t h = 0; h < p->H; h++)
            run_head(run, h);
    }
}

bool reference_run(const Spec *spec, const RefProblem *problem, bool exact, ElemType plain_type, int64_t rows,
                   RefResult *result)
{
    Arena *arena = arena_create();
    if (!arena)
        return false;
    jmp_buf door;
    arena_arm(arena, &door);
    if (setjmp(door)) {
        arena_destroy(arena);
        return false;
    }
    Run *run = ARENA_NEW(arena, Run);
    run->arena = arena;
    run->spec = spec;
    run->p = problem;
    run->exact = exact;
    run->plain_type = plain_type;
    run->step = rows > 0 ? rows : 1;
    run->result = result;
    run_all(run);
    arena_destroy(arena);
    return true;
}
