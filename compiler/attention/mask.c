/* The mask's doors: tile class, key range, query range. The work is mask_solve.c. */
#include "mask.h"
#include "mask_solve.h"

/* Position -> flat index in a grid with these extents, outermost axis first. */
static const Expr *flat_index(const Spec *spec, VarId coordinate, VarId extent)
{
    const Expr *flat = expr_var(spec->pool, coordinate, TYPE_INT);
    for (int a = 1; a < spec->rank; a++)
        flat = expr_op2(
            spec->pool, EXPR_ADD,
            expr_op2(spec->pool, EXPR_MUL, flat, expr_var(spec->pool, (VarId)(extent + a), TYPE_INT)),
            expr_var(spec->pool, (VarId)(coordinate + a), TYPE_INT));
    return flat;
}

static bool is_token(const Spec *spec, const Expr *index, VarId coordinate)
{
    return index == flat_index(spec, coordinate, VAR_SIZE_N0) ||
           index == flat_index(spec, coordinate, VAR_SIZE_M0);
}

MaskSide mask_array_side(const Spec *spec, const Expr *input)
{
    const uint64_t queries = (uint64_t)7 << VAR_I0, keys = (uint64_t)7 << VAR_J0;
    if (!(input->vars & (queries | keys)))
        return MASK_SIDE_NONE;
    for (int k = 0; k < input->arity - 1; k++)
        if (input->args[k]->vars & (queries | keys))
            return MASK_SIDE_BOTH;
    if (is_token(spec, input->args[input->arity - 1], VAR_I0))
        return MASK_SIDE_QUERY;
    return is_token(spec, input->args[input->arity - 1], VAR_J0) ? MASK_SIDE_KEY : MASK_SIDE_BOTH;
}

MaskClass mask_classify(const Spec *spec, const MaskBox *box, const MaskArrays *arrays)
{
    Solver s = {.arena = spec->arena,
                .pool = spec->pool,
                .spec = spec,
                .arrays = arrays,
                .query_arrays = true,
                .key_arrays = true};
    for (int a = 0; a < spec->rank; a++) {
        s.lo[SOLVE_I + a] = box->i_lo[a];
        s.hi[SOLVE_I + a] = box->i_hi[a];
        s.lo[SOLVE_J + a] = box->j_lo[a];
        s.hi[SOLVE_J + a] = box->j_hi[a];
    }
    const Expr *predicate = solve_prepare(&s, spec->mask);
    /* All pairs are visible when none can be invisible. */
    return (MaskClass){expr_op1(spec->pool, EXPR_NOT, solve_may(&s, predicate, false)),
                       solve_may(&s, predicate, true)};
}

/* Hull of side `found` given the other side's box. */
static MaskHull hull_of_side(const Spec *spec, const MaskBox *box, const MaskArrays *arrays, bool keys)
{
    ExprPool *pool = spec->pool;
    Solver s = {.arena = spec->arena,
                .pool = pool,
                .spec = spec,
                .arrays = arrays,
                .query_arrays = keys,
                .key_arrays = !keys};
    const Expr *one = expr_int(pool, 1), *zero = expr_int(pool, 0);
    int found = keys ? SOLVE_J : SOLVE_I, given = keys ? SOLVE_I : SOLVE_J;
    for (int a = 0; a < spec->rank; a++) {
        s.lo[given + a] = keys ? box->i_lo[a] : box->j_lo[a];
        s.hi[given + a] = keys ? box->i_hi[a] : box->j_hi[a];
        VarId extent = spec->rank == 1 ? (keys ? VAR_SIZE_N : VAR_SIZE_M)
                                       : (VarId)((keys ? VAR_SIZE_N0 : VAR_SIZE_M0) + a);
        const Expr *first = !keys && spec->rank == 1 ? expr_var(pool, VAR_OFFSET, TYPE_INT) : zero;
        s.lo[found + a] = first;
        s.hi[found + a] =
            expr_op2(pool, EXPR_SUB, expr_op2(pool, EXPR_ADD, first, expr_var(pool, extent, TYPE_INT)), one);
    }
    const Expr *predicate = solve_prepare(&s, spec->mask);
    MaskHull hull = {{NULL}, {NULL}};
    for (int a = 0; a < spec->rank; a++) {
        ExprRange r = solve_hull(&s, predicate, found + a);
        hull.lo[a] = r.lo;
        hull.hi[a] = r.hi ? expr_op2(pool, EXPR_ADD, r.hi, one) : NULL;
    }
    return hull;
}

MaskHull mask_key_range(const Spec *spec, const MaskBox *box, const MaskArrays *arrays)
{
    return hull_of_side(spec, box, arrays, true);
}

MaskHull mask_query_range(const Spec *spec, const MaskBox *box, const MaskArrays *arrays)
{
    return hull_of_side(spec, box, arrays, false);
}
