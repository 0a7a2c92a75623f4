/* A predicate as cases: disjunctive form whose atoms are linear in the coordinates where that can be had.
 *
 *   c max(x, y) + r >= 0   is   c x + r >= 0 or c y + r >= 0    (c > 0; `and` for c < 0; min the other way
 * round) |x| = max(x, -x)       select(p, x, y): p with x, or not p with y x % d == r             is   d | x
 * - r, and r is a remainder of d x / d - y / d          is   (x - y) / d where d | x - y is among the atoms
 * of the case, and in general (x - y + y % d) / d, useful where the remainder then cancels x % d is   x - d k
 * on the stretch of the box where x / d = k */
#include "compiler/spec/expr_pool.h"
#include "mask_solve.h"

static const Expr *op2(Solver *s, ExprOp op, const Expr *a, const Expr *b)
{
    return expr_op2(s->pool, op, a, b);
}
static const Expr *number(Solver *s, int64_t value) { return expr_int(s->pool, value); }

unsigned solve_reads(const Solver *s, const Expr *e)
{
    unsigned bits = 0;
    for (int v = 0; v < SOLVE_VARS; v++)
        if (e->free_bound && s->var[v] && expr_uses(e, (VarId)s->var[v]->index))
            bits |= v < SOLVE_DELTA ? 1u << v : 1u << (v - SOLVE_DELTA) | 1u << (v - SOLVE_DELTA + SOLVE_J);
    return bits;
}

bool solve_varies(const Solver *s, const Expr *e)
{
    /* The coordinates themselves are left only inside inputs, see solve_prepare. */
    const uint64_t coordinates = (uint64_t)63 << VAR_I0;
    return (e->vars & coordinates) != 0 || solve_reads(s, e) != 0;
}

/* Differences
 * ------------------------------------------------------------------------------------------------ */

/* c i_a - c' j_a becomes min(c, c') (i_a - j_a) + the rest: the difference is one variable of its own. */
static const Expr *pair_differences(Solver *s, const Expr *sum)
{
    ExprLinear linear = {0};
    if (!expr_linear_add(&linear, sum, 1))
        return sum;
    int at[SOLVE_VARS];
    for (int v = 0; v < SOLVE_VARS; v++)
        at[v] = -1;
    for (int k = 0; k < linear.count; k++)
        for (int v = 0; v < SOLVE_DELTA; v++)
            if (linear.term[k] == s->var[v])
                at[v] = k;
    ExprLinear out = linear;
    for (int a = 0; a < SPEC_MAX_RANK; a++) {
        if (at[SOLVE_I + a] < 0 || at[SOLVE_J + a] < 0)
            continue;
        int64_t ci = linear.coef[at[SOLVE_I + a]], cj = linear.coef[at[SOLVE_J + a]];
        if ((ci > 0) == (cj > 0))
            continue;
        int64_t both = ci > 0 ? (ci < -cj ? ci : -cj) : (-ci < cj ? ci : -cj); /* signed as ci */
        if (!expr_linear_add(&out, s->var[SOLVE_I + a], -both) ||
            !expr_linear_add(&out, s->var[SOLVE_J + a], both) ||
            !expr_linear_add(&out, s->var[SOLVE_DELTA + a], both))
            return sum;
    }
    return expr_linear_build(s->pool, &out);
}

/* The same in every sum inside e. */
static const Expr *pair_inside(Solver *s, const Expr *e)
{
    if (e->arity == 0 || !solve_reads(s, e) || e->op == EXPR_INPUT)
        return e;
    const Expr *args[EXPR_MAX_ARGS];
    if (e->type == TYPE_INT && (e->op == EXPR_ADD || e->op == EXPR_SUB || e->op == EXPR_NEG))
        e = pair_differences(s, e);
    for (int k = 0; k < e->arity; k++)
        args[k] = pair_inside(s, e->args[k]);
    return e->arity ? expr_rebuild(s->pool, e, args) : e;
}

/* Cases
 * ------------------------------------------------------------------------------------------------------ */

static Cases one_atom(Solver *s, AtomKind kind, const Expr *form, const Expr *divisor)
{
    Cases cases = {1, ARENA_NEW(s->arena, Case)};
    cases.list->count = 1;
    cases.list->atom[0] =
        (Atom){kind, kind == ATOM_OTHER ? form : pair_inside(s, pair_differences(s, form)), divisor};
    return cases;
}

static bool has_atom(const Case *c, const Atom *atom)
{
    for (int k = 0; k < c->count; k++)
        if (c->atom[k].kind == atom->kind && c->atom[k].form == atom->form &&
            c->atom[k].divisor == atom->divisor)
            return true;
    return false;
}

static bool case_add(Case *c, const Atom *atom)
{
    if (has_atom(c, atom))
        return true;
    if (c->count == CASE_ATOMS)
        return false;
    c->atom[c->count++] = *atom;
    return true;
}

bool cases_both(Solver *s, const Cases *a, const Cases *b, Cases *out)
{
    if (a->count * b->count > CASE_LIMIT)
        return false;
    out->count = 0;
    out->list = ARENA_ARRAY(s->arena, Case, (size_t)(a->count * b->count) + 1);
    for (int x = 0; x < a->count; x++)
        for (int y = 0; y < b->count; y++) {
            Case *c = &out->list[out->count++];
            *c = a->list[x];
            for (int k = 0; k < b->list[y].count; k++)
                if (!case_add(c, &b->list[y].atom[k]))
                    return false;
        }
    return true;
}

static bool cases_either(Solver *s, const Cases *a, const Cases *b, Cases *out)
{
    if (a->count + b->count > CASE_LIMIT)
        return false;
    out->count = a->count + b->count;
    out->list = ARENA_ARRAY(s->arena, Case, (size_t)out->count + 1);
    for (int k = 0; k < out->count; k++)
        out->list[k] = k < a->count ? a->list[k] : b->list[k - a->count];
    return true;
}

/* Splitting a term: the term is alt[0] when p and alt[1] otherwise, or (p NULL) their max or min. */
typedef struct Split {
    const Expr *alt[2], *p;
    bool is_max;
} Split;

static bool split_term(Solver *s, const Expr *t, Split *split)
{
    if (!solve_varies(s, t) || t->type != TYPE_INT)
        return false;
    switch ((ExprOp)t->op) {
    case EXPR_MIN:
    case EXPR_MAX: *split = (Split){{t->args[0], t->args[1]}, NULL, t->op == EXPR_MAX}; return true;
    case EXPR_ABS:
        *split = (Split){{t->args[0], expr_op1(s->pool, EXPR_NEG, t->args[0])}, NULL, true};
        return true;
    case EXPR_SELECT: *split = (Split){{t->args[1], t->args[2]}, t->args[0], false}; return true;
    case EXPR_DIV: { /* (c max(x, y) + r) / d: dividing by d > 0 keeps the order */
        ExprLinear top = {0};
        if (!expr_positive(t->args[1]) || !expr_linear_add(&top, t->args[0], 1))
            return false;
        for (int k = 0; k < top.count; k++) {
            Split inner;
            if (!split_term(s, top.term[k], &inner))
                continue;
            *split = inner;
            split->is_max = inner.is_max == (top.coef[k] > 0);
            for (int alt = 0; alt < 2; alt++) {
                ExprLinear sum = top;
                if (!expr_linear_add(&sum, top.term[k], -top.coef[k]) ||
                    !expr_linear_add(&sum, inner.alt[alt], top.coef[k]))
                    return false;
                split->alt[alt] = op2(s, EXPR_DIV, expr_linear_build(s->pool, &sum), t->args[1]);
            }
            return true;
        }
        return false;
    }
    default: return false;
    }
}

/* Finds a term of the sum to split; forms: the sum with either alternative in its place. */
static bool split_form(Solver *s, const Expr *form, Split *split, const Expr *forms[2])
{
    ExprLinear linear = {0};
    if (!expr_linear_add(&linear, form, 1))
        return false;
    for (int k = 0; k < linear.count; k++) {
        if (!split_term(s, linear.term[k], split))
            continue;
        for (int alt = 0; alt < 2; alt++) {
            ExprLinear sum = linear;
            if (!expr_linear_add(&sum, linear.term[k], -linear.coef[k]) ||
                !expr_linear_add(&sum, split->alt[alt], linear.coef[k]))
                return false;
            forms[alt] = expr_linear_build(s->pool, &sum);
        }
        split->is_max = split->is_max == (linear.coef[k] > 0);
        return true;
    }
    return false;
}

static bool try_cases(Solver *s, const Expr *e, bool positive, Cases *out);

static bool atom_cases(Solver *s, AtomKind kind, const Expr *form, Cases *out)
{
    Split split;
    const Expr *forms[2];
    Cases a, b;
    if (!split_form(s, form, &split, forms)) {
        *out = one_atom(s, kind, form, NULL);
        return true;
    }
    if (split.p) {
        Cases p, not_p, first, second;
        return try_cases(s, split.p, true, &p) && try_cases(s, split.p, false, &not_p) &&
               atom_cases(s, kind, forms[0], &a) && atom_cases(s, kind, forms[1], &b) &&
               cases_both(s, &p, &a, &first) && cases_both(s, &not_p, &b, &second) &&
               cases_either(s, &first, &second, out);
    }
    if (kind == ATOM_GE)
        return atom_cases(s, kind, forms[0], &a) && atom_cases(s, kind, forms[1], &b) &&
               (split.is_max ? cases_either(s, &a, &b, out) : cases_both(s, &a, &b, out));
    const Expr *below = expr_op1(s->pool, EXPR_NEG, form);
    if (kind == ATOM_EQ)
        return atom_cases(s, ATOM_GE, form, &a) && atom_cases(s, ATOM_GE, below, &b) &&
               cases_both(s, &a, &b, out);
    const Expr *one = number(s, 1);
    return atom_cases(s, ATOM_GE, op2(s, EXPR_SUB, form, one), &a) &&
           atom_cases(s, ATOM_GE, op2(s, EXPR_SUB, below, one), &b) && cases_either(s, &a, &b, out);
}

/* x % d == r with d and r fixed: d | x - r, and r % d == r. */
static bool congruence(Solver *s, const Expr *a, const Expr *b, Cases *out)
{
    if (b->op == EXPR_MOD && a->op != EXPR_MOD)
        return congruence(s, b, a, out);
    if (a->op != EXPR_MOD || solve_varies(s, a->args[1]) || solve_varies(s, b))
        return false;
    Cases multiple = one_atom(s, ATOM_CONGRUENT, op2(s, EXPR_SUB, a->args[0], b), a->args[1]);
    const Expr *valid = op2(s, EXPR_EQ, op2(s, EXPR_MOD, b, a->args[1]), b);
    if (valid->op == EXPR_BOOL && valid->value.i) {
        *out = multiple;
        return true;
    }
    Cases other = one_atom(s, ATOM_OTHER, valid, NULL);
    return cases_both(s, &multiple, &other, out);
}

static bool comparison_cases(Solver *s, const Expr *e, bool positive, Cases *out)
{
    const Expr *a = e->args[0], *b = e->args[1];
    ExprOp op = (ExprOp)e->op;
    if (op == EXPR_EQ || op == EXPR_NE) {
        bool equal = (op == EXPR_EQ) == positive;
        if (equal && congruence(s, a, b, out))
            return true;
        return atom_cases(s, equal ? ATOM_EQ : ATOM_NE, op2(s, EXPR_SUB, a, b), out);
    }
    /* a <= b, a < b, and their negations b < a, b <= a, all as form >= 0 */
    const Expr *form = positive ? op2(s, EXPR_SUB, b, a) : op2(s, EXPR_SUB, a, b);
    if ((op == EXPR_LT) == positive)
        form = op2(s, EXPR_SUB, form, number(s, 1));
    return atom_cases(s, ATOM_GE, form, out);
}

static bool try_cases(Solver *s, const Expr *e, bool positive, Cases *out)
{
    Cases a, b;
    switch ((ExprOp)e->op) {
    case EXPR_NOT: return try_cases(s, e->args[0], !positive, out);
    case EXPR_AND:
    case EXPR_OR:
        a = cases_of(s, e->args[0], positive);
        b = cases_of(s, e->args[1], positive);
        return (e->op == EXPR_AND) == positive ? cases_both(s, &a, &b, out) : cases_either(s, &a, &b, out);
    case EXPR_BSELECT: {
        Cases p = cases_of(s, e->args[0], true), not_p = cases_of(s, e->args[0], false), first, second;
        a = cases_of(s, e->args[1], positive);
        b = cases_of(s, e->args[2], positive);
        return cases_both(s, &p, &a, &first) && cases_both(s, &not_p, &b, &second) &&
               cases_either(s, &first, &second, out);
    }
    case EXPR_LT:
    case EXPR_LE:
    case EXPR_EQ:
    case EXPR_NE:
        if (e->args[0]->type == TYPE_INT && solve_varies(s, e))
            return comparison_cases(s, e, positive, out);
        break;
    default: break;
    }
    *out = one_atom(s, ATOM_OTHER, positive ? e : expr_op1(s->pool, EXPR_NOT, e), NULL);
    return true;
}

/* d | x by an atom of the case. */
static bool known_multiple(const Case *c, const Expr *x, const Expr *d)
{
    for (int k = 0; k < c->count; k++) {
        if (c->atom[k].kind != ATOM_CONGRUENT || c->atom[k].divisor != d)
            continue;
        for (int sign = -1; sign <= 1; sign += 2) {
            ExprLinear rest = {0};
            if (!expr_linear_add(&rest, x, 1) || !expr_linear_add(&rest, c->atom[k].form, sign))
                continue;
            if (rest.count == 0 && (rest.constant == 0 || (d->op == EXPR_INT && d->value.i != 0 &&
                                                           rest.constant % d->value.i == 0)))
                return true;
        }
    }
    return false;
}

/* (x - y + y % d) / d where y % d cancels against a remainder in x - y that the case says is equal; else
 * NULL. */
static const Expr *cancelled_quotient(Solver *s, const Case *c, const Expr *x, const Expr *y, const Expr *d)
{
    ExprLinear sum = {0};
    if (!expr_linear_add(&sum, op2(s, EXPR_SUB, x, y), 1) ||
        !expr_linear_add(&sum, op2(s, EXPR_MOD, y, d), 1))
        return NULL;
    ExprLinear out = sum;
    for (int p = 0; p < sum.count; p++)
        for (int q = 0; q < sum.count; q++) {
            const Expr *a = sum.term[p], *b = sum.term[q];
            if (sum.coef[p] == 1 && sum.coef[q] == -1 && a->op == EXPR_MOD && b->op == EXPR_MOD &&
                a->args[1] == d && b->args[1] == d &&
                known_multiple(c, pair_differences(s, op2(s, EXPR_SUB, a->args[0], b->args[0])), d) &&
                (!expr_linear_add(&out, a, -1) || !expr_linear_add(&out, b, 1)))
                return NULL;
        }
    for (int k = 0; k < out.count; k++)
        if (out.term[k]->op == EXPR_MOD && solve_varies(s, out.term[k]))
            return NULL;
    return op2(s, EXPR_DIV, pair_differences(s, expr_linear_build(s->pool, &out)), d);
}

/* x / d - y / d as one quotient, or NULL. */
static const Expr *quotient_difference(Solver *s, const Case *c, const Expr *x, const Expr *y, const Expr *d)
{
    const Expr *difference = pair_differences(s, op2(s, EXPR_SUB, x, y));
    if (known_multiple(c, difference, d))
        return op2(s, EXPR_DIV, difference, d);
    const Expr *joined = cancelled_quotient(s, c, x, y, d);
    if (joined)
        return joined;
    joined = cancelled_quotient(s, c, y, x, d);
    return joined ? expr_op1(s->pool, EXPR_NEG, joined) : NULL;
}

/* Uses the congruences of a case on the quotients of its other atoms. */
void case_join_quotients(Solver *s, Case *c)
{
    bool any = false;
    for (int k = 0; k < c->count; k++)
        any |= c->atom[k].kind == ATOM_CONGRUENT && expr_positive(c->atom[k].divisor);
    for (int n = 0; n < c->count && any; n++) {
        Atom *atom = &c->atom[n];
        ExprLinear linear = {0};
        if (atom->kind > ATOM_NE || !expr_linear_add(&linear, atom->form, 1))
            continue;
        for (int p = 0; p < linear.count; p++)
            for (int q = 0; q < linear.count; q++) {
                const Expr *a = linear.term[p], *b = linear.term[q], *d = a->arity == 2 ? a->args[1] : NULL;
                if (a->op != EXPR_DIV || b->op != EXPR_DIV || b->args[1] != d || linear.coef[p] != 1 ||
                    linear.coef[q] != -1 || !solve_varies(s, a) || !solve_varies(s, b) || !expr_positive(d))
                    continue;
                const Expr *joined = quotient_difference(s, c, a->args[0], b->args[0], d);
                ExprLinear sum = linear;
                if (joined && expr_linear_add(&sum, a, -1) && expr_linear_add(&sum, b, 1) &&
                    expr_linear_add(&sum, joined, 1)) {
                    linear = sum;
                    atom->form = expr_linear_build(s->pool, &sum);
                    p = q = -1; /* the terms have moved: once more from the start */
                    break;
                }
            }
    }
}

Cases cases_of(Solver *s, const Expr *predicate, bool positive)
{
    Cases cases;
    if (!try_cases(s, predicate, positive, &cases))
        cases = one_atom(s, ATOM_OTHER, positive ? predicate : expr_op1(s->pool, EXPR_NOT, predicate), NULL);
    return cases;
}

/* Remainders that wrap
 * ---------------------------------------------------------------------------------------- */

enum { WRAPS = 2 };
typedef struct Wraps {
    int count;
    const Expr *mod[WRAPS];
    bool too_many;
} Wraps;

static void find_wraps(Solver *s, const Expr *e, Wraps *wraps)
{
    if (e->op == EXPR_INPUT || !solve_reads(s, e))
        return;
    int before = wraps->count;
    for (int k = 0; k < e->arity; k++)
        find_wraps(s, e->args[k], wraps);
    if (e->op != EXPR_MOD || e->type != TYPE_INT || solve_varies(s, e->args[1]) || wraps->count != before)
        return; /* of nested ones the innermost */
    for (int k = 0; k < wraps->count; k++)
        if (wraps->mod[k] == e)
            return;
    wraps->too_many |= wraps->count == WRAPS;
    if (!wraps->too_many)
        wraps->mod[wraps->count++] = e;
}

static const Expr *replace(Solver *s, const Expr *e, const Expr *from, const Expr *to)
{
    if (e == from)
        return to;
    if (e->arity == 0 || e->op == EXPR_INPUT || !solve_reads(s, e))
        return e;
    const Expr *args[EXPR_MAX_ARGS];
    for (int k = 0; k < e->arity; k++)
        args[k] = replace(s, e->args[k], from, to);
    return expr_rebuild(s->pool, e, args);
}

/* A remainder alone against something fixed: its own range already decides it. */
static bool lone_remainder(Solver *s, const Atom *atom)
{
    ExprLinear linear = {0};
    if (atom->kind > ATOM_NE || !expr_linear_add(&linear, atom->form, 1))
        return false;
    int varying = 0, remainders = 0;
    for (int k = 0; k < linear.count; k++)
        if (solve_varies(s, linear.term[k])) {
            varying++;
            remainders += linear.term[k]->op == EXPR_MOD && !solve_varies(s, linear.term[k]->args[1]);
        }
    return varying == 1 && remainders == 1;
}

bool cases_split_wraps(Solver *s, const Case *whole, Cases *out, const Expr **valid)
{
    Wraps wraps = {0};
    for (int k = 0; k < whole->count; k++)
        if (!lone_remainder(s, &whole->atom[k]))
            find_wraps(s, whole->atom[k].form, &wraps);
    if (wraps.count == 0 || wraps.too_many)
        return false;
    *out = (Cases){1, ARENA_NEW(s->arena, Case)};
    out->list[0] = *whole;
    *valid = expr_bool(s->pool, true);
    for (int w = 0; w < wraps.count; w++) {
        const Expr *mod = wraps.mod[w], *x = mod->args[0], *d = mod->args[1];
        ExprRange range = solve_box_range(s, x);
        if (!range.lo || !range.hi)
            return false;
        const Expr *period[2] = {op2(s, EXPR_DIV, range.lo, d), op2(s, EXPR_DIV, range.hi, d)};
        const Expr *one = number(s, 1);
        const Expr *adjacent = op2(s, EXPR_LE, op2(s, EXPR_SUB, period[1], period[0]), one);
        *valid = op2(s, EXPR_AND, *valid, op2(s, EXPR_AND, adjacent, op2(s, EXPR_LE, one, d)));
        Cases split = {0, ARENA_ARRAY(s->arena, Case, (size_t)out->count * 2)};
        for (int k = 0; k < out->count; k++)
            for (int p = 0; p < 2; p++) {
                Case *c = &split.list[split.count++];
                *c = out->list[k];
                const Expr *rest = op2(s, EXPR_SUB, x, op2(s, EXPR_MUL, d, period[p]));
                for (int n = 0; n < c->count; n++)
                    c->atom[n].form = pair_inside(s, replace(s, c->atom[n].form, mod, rest));
                /* x stays in its stretch: below the end of the first, not before the second */
                const Expr *form = p == 0 ? op2(s, EXPR_SUB, op2(s, EXPR_SUB, d, one), rest) : rest;
                Atom stretch = {ATOM_GE, pair_inside(s, form), NULL};
                if (!case_add(c, &stretch))
                    return false;
            }
        *out = split;
    }
    return true;
}
