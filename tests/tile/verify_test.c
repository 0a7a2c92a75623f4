/* The verifier: at least one Program that breaks each rule, and what is said about it. */
#include <string.h>

#include "tiling.h"

#define PROGRAM(stage, body)                                                                                      \
    "program p rank 1 stage " stage                                                                               \
    " { axis m = 4 axis n = 8 axis d = 2 axis e = 3 axis f = 5 param w : int\n"                                   \
    "tensor q : q f32 [B, M] tensor o : o f32 [B, M] tensor t : input 0 i32 [N] tensor mask : input 1 bool [N]\n" \
    "phase a grid (b: B) {\n" body "\n} }"
#define BODY(body)                                                                                           \
    PROGRAM("sized", "%0 = grid b %1 : i64[m] = index m %2 : i64[n] = index n %3 : f32 = map () 1.0 "        \
                     "%4 : f32[m] = map (%1) float($0) %5 : bool[m] = map (%1) $0 == 2 " body)

static void complains(const Diag *diag, const char *text, const char *message)
{
    for (const Message *m = diag->first; m; m = m->next)
        if (m->severity == DIAG_ERROR && !strncmp(m->text, message, strlen(message)))
            return;
    fprintf(stderr, "\nof '%s' expected '%s', got %s\n", text, message,
            diag->first ? diag->first->text : "nothing");
    CU_FAIL("the message is another");
}

/* Rules that a text can break. One cause, one complaint. */
static void texts(void)
{
    static const char *const cases[][2] = {
        {BODY("%6 : f32[n] = index m"),
         "the value is f32[n], its operands make it i64[m]: in '%6 : f32[n] = index m'"},
        {BODY("%6 = seq q_begin %1"), "the sequence is i64[m], not a scalar i64"},
        {BODY("%6 = seq q_begin %3"), "the sequence is f32, not a scalar i64"},
        {BODY("%6 : f32[m] = map (%1) $0"), "the expression is int, the value f32[m]"},
        {BODY("%6 : i32[m] = map (%1) $0"), "the expression is int, the value i32[m]"},
        {BODY("%6 : i64[m] = map (%1, %2) $0 + $1"), "the value is i64[m], its operands make it i64[m, n]"},
        {BODY("%6 : f32 = reduce max n %4"), "the operand does not have the axis 'n'"},
        {BODY("%6 : f32 = reduce or m %4"), "or does not reduce f32[m]"},
        {BODY("%6 : bool = reduce sum m %5"), "sum does not reduce bool[m]"},
        {BODY("%6 : bf16 = reduce sum m %4"), "the value is bf16, its operands make it f32"},
        {BODY("%6 : f32 = contract n %4, %4"), "no operand has the axis 'n'"},
        {BODY("%6 : f32 = contract m %4, %1"), "the product of operands that are not both float"},
        {BODY("%6 : f32 = contract m %1, %1 by $0 + $1"), "what is summed is not float"},
        {BODY("%6 : bf16 = contract m %4, %4"), "the value is bf16, its operands make it f32"},
        {BODY("%6 : f32[m] = var %4 contract m %4, %4 into %6"), "the sum is f32, the target f32[m]"},
        {BODY("contract m %4, %4 into %3"), "the target %3 is no var"},
        {BODY("%6 : f32[m] = load q(%0)"), "1 indices, 'q' has 2 dimensions"},
        {BODY("%6 : f32[m] = load q(%0, %4)"), "index 1 is f32[m], not i64"},
        {BODY("%6 : i64[m] = load q(%0, %1)"), "the value is i64[m], 'q' holds f32"},
        {BODY("%6 : i32[m] = load t(%1)"), "the value is i32[m], 't' holds i32"},
        {BODY("%6 : bool[n] = load mask(%2) if %5"), "the guard has an axis that no index has"},
        {BODY("%6 : f32[m] = load q(%0, %1) if %1"), "the guard is i64[m], not bool"},
        {BODY("store o(%0, %1) = %1"), "the value is i64[m], 'o' holds f32"},
        {BODY("store o(%0, %0) = %4"), "the value has an axis that no index has"},
        {BODY("store q(%0, %1) = %4"), "'q' is read only"},
        {BODY("store t(%1) = %1"), "'t' is read only"},
        {BODY("store o(%0) = %4"), "1 indices, 'o' has 2 dimensions: in 'store o(%0) = %4'"},
        {BODY("%6 : f32 = var %4"), "the variable is f32, the value f32[m]"},
        {BODY("%6 : i64[m] = var %4"), "the variable is i64[m], the value f32[m]"},
        {BODY("%6 : i32[m] = var %1"), "a variable cannot be i32[m]"},
        {BODY("%6 : f32[m] = var %4 %7 : f32[n] = map (%2) 1.5 set %6 = %7"),
         "the variable is f32[m], the value f32[n]"},
        {BODY("%6 : f32[m] = var %4 set %6 = %5"), "the variable is f32[m], the value bool[m]"},
        {BODY("set %4 = %3"), "the target %4 is no var"},
        {BODY("%6 = for %0 .. %1 { }"), "the bound is i64[m], not a scalar i64"},
        {BODY("%6 = for %3 .. %0 { }"), "the bound is f32, not a scalar i64"},
        {BODY("if %5 { }"), "the condition is bool[m], not a scalar bool"},
        {BODY("if %0 { }"), "the condition is i64, not a scalar bool"},
        {BODY("%6 = for %0 .. %0 { } %7 : i64 = map (%6) $0"), "the operand %6 is out of scope"},
        {BODY("%6 = for %0 .. %0 { %7 : f32 = map () 1.0 } store o(%0, %0) = %7"),
         "the operand %7 is out of scope"},
        {BODY("%6 : bool = map () true if %6 { %7 : f32 = map () 1.0 } else { store o(%0, %0) = %7 }"),
         "the operand %7 is out of scope"},
        {BODY("%6 : bool = map () true if %6 { %7 : bool = map () true } %8 : f32 = load q(%0, %0) if %7"),
         "the guard %7 is out of scope"},
        {BODY("%6 : bool = map () true if %6 { %7 : f32 = var %3 } set %7 = %3"),
         "the target %7 is out of scope"},
        {BODY("} phase c { %9 : i64 = map (%0) $0"),
         "the operand %0 is out of scope: in '%9 : i64 = map (%0) $0'"},
        {BODY("} phase a { "), "two phases are named 'a'"},
        {BODY("} phase c grid (x: B, x: H) { "),
         "two grid dimensions are named 'x': in phase 'c' of program 'p'"},
        {BODY("} phase c grid (x: _) { "), "the grid dimension 'x' has an extent that is no size"},
        {BODY("} phase c grid (x: ceil(B / 0)) { "),
         "the grid dimension 'x' has a divisor or factor below 1"},
        {BODY("} tensor q : input 5 f32 [B] phase c { "), "two tensors are named 'q'"},
        {BODY("} tensor qq : q f32 [B] phase c { "), "the tensors 'q' and 'qq' play the same role"},
        {BODY("} tensor u : workspace 0 f32 [_] phase c { "),
         "dimension 0 of the workspace 'u' has an extent that is no size"},
        {BODY("} tensor u : workspace 0 f32 [B * -1] phase c { "),
         "dimension 0 of the workspace 'u' has a divisor or factor"},
        {BODY("} tensor u : workspace 0 f32 [] phase c { "), "the tensor 'u' has no dimension"},
        {BODY("} param w : float phase c { "), "two params are named 'w': in program 'p'"},
        {BODY("} axis g = 0 phase c { "),
         "the axis 'g' has extent 0, from stage sized on it is 1 to 1048576"},
        {BODY("} axis g = 1048577 phase c { "), "the axis 'g' has extent 1048577"},
        {BODY("} knob k = -4 phase c { "), "the knob 'k' is negative"},
        {BODY("} knob k phase c { %9 : i64 = map () k * 2"),
         "the knob 'k' is still there after stage logical"},
        {BODY("} knob k phase c grid (x: ceil(B / k)) { "),
         "the grid dimension 'x' is divided by the knob 'k' after stage logical"},
        {BODY("} axis x = 1000000 axis y = 1000000 phase c { %9 : i64[x] = index x %10 : i64[y] = index y "
              "%11 : i64[x, y] = map (%9, %10) $0"),
         "a tile of more than 16777216 elements"},
        {BODY("%6 : i64[d] = index d %7 : i64[e] = index e %8 : i64[f] = index f "
              "%9 : i64[m, n, d, e] = map (%1, %2, %6, %7, %8) $0"),
         "the operands have more than 4 axes together"},
        {PROGRAM("logical", "") " ", NULL},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        Tiling t;
        tiling_parse(&t, "case", cases[k][0], strlen(cases[k][0]));
        if (!t.program)
            diag_print(t.diag, stderr, DIAG_TEXT, false);
        CU_ASSERT_PTR_NOT_NULL_FATAL(t.program);
        CU_ASSERT_EQUAL(program_verify(t.program, t.diag), !cases[k][1]);
        CU_ASSERT_EQUAL(t.diag->errors, cases[k][1] ? 1 : 0);
        if (cases[k][1])
            complains(t.diag, cases[k][0], cases[k][1]);
        tiling_close(&t);
    }
    Tiling t;
    const char *text = PROGRAM("logical", "} axis g = w phase c {");
    tiling_parse(&t, "case", text, strlen(text));
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.program);
    CU_ASSERT(!program_verify(t.program, t.diag));
    complains(t.diag, text, "an axis' extent names something else than a knob");
    tiling_close(&t);
}

/* Rules that only a Program built in memory can break: a sound one is damaged in one place. */
typedef struct Broken {
    Program *program;
    Inst *grid, *index, *map, *var, *load, *store, *loop, *inner, *branch, *set, *sum, *total;
} Broken;

static Broken build(Arena *arena)
{
    ExprPool *pool = expr_pool_create(arena);
    Program *p = program_create(arena, pool, "broken", 1);
    p->stage = STAGE_SIZED;
    int m = program_axis(p, "m", expr_int(pool, 4));
    p->axes[m].extent = 4;
    Extent dense = {.size = -1, .div_knob = -1, .div = 1, .mul = 8};
    int w = program_tensor(
        p,
        (Tensor){
            .name = "w", .role = ROLE_WORKSPACE, .elem = ELEM_TYPE_F32, .dim_count = 1, .extent = {dense}});
    Phase *phase = program_phase(p, "a");
    phase->grid_count = 1;
    phase->grid[0].name = "b";
    phase->grid[0].extent = dense;
    Builder b = {.program = p, .block = phase->body, .span = SPAN_NONE};
    Broken x = {.program = p};
    x.grid = build_grid_index(&b, 0);
    x.index = build_index(&b, m);
    x.map = build_map(&b, expr_op1(pool, EXPR_TOFLOAT, expr_arg(pool, 0, TYPE_INT)), &x.index, 1);
    x.var = build_var(&b, ELEM_TYPE_F32, &m, 1, x.map);
    x.load = build_load(&b, w, &x.index, 1, NULL);
    x.sum = build_reduce(&b, REDUCE_SUM, m, x.load);
    x.total = build_contract(&b, m, x.load, x.load, NULL, NULL);
    x.loop = build_for(&b, x.grid, x.grid, false);
    b.block = x.loop->body;
    x.inner = build_map(&b, expr_bool(pool, true), NULL, 0);
    x.branch = build_if(&b, x.inner, true);
    b.block = x.branch->body;
    build_set(&b, x.var, x.load);
    x.set = b.block->last;
    b.block = phase->body;
    build_store(&b, w, &x.index, 1, x.var, NULL);
    x.store = b.block->last;
    return x;
}

typedef struct Damage { void (*damage)(Broken *x); const char *message; } Damage;

#define DAMAGE(name, statement) static void name(Broken *x) { statement; }
DAMAGE(nothing, (void)x)
DAMAGE(bad_op, x->grid->op = TILE_OP_COUNT)
DAMAGE(bad_stage, x->program->stage = (Stage)17)
DAMAGE(too_many, x->program->tensor_count = PROGRAM_MAX_TENSORS + 1)
DAMAGE(too_many_grid, x->program->phases[0].grid_count = PROGRAM_MAX_GRID + 1)
DAMAGE(taken_id, x->load->id = x->map->id)
DAMAGE(far_id, x->store->id = x->program->next_id)
DAMAGE(many_ids, x->program->next_id = (1 << 20) + 1)
DAMAGE(no_arg, x->map->args[0] = NULL)
DAMAGE(later_arg, x->map->args[0] = x->load)
DAMAGE(foreign_arg,
       x->map->args[0] = memcpy(arena_alloc(x->program->arena, sizeof(Inst)), x->index, sizeof(Inst)))
DAMAGE(valueless_arg, x->store->args[1] = x->branch)
DAMAGE(few_args, x->map->arg_count = -1)
DAMAGE(many_args, x->load->arg_count = 7; x->load->args = ARENA_ARRAY(x->program->arena, Inst *, 7))
DAMAGE(value_lost, x->map->has_value = false)
DAMAGE(value_found, x->store->has_value = true)
DAMAGE(both_value_and_target, x->total->target = x->var)
DAMAGE(neither, x->total->has_value = false)
DAMAGE(no_target, x->set->target = NULL)
DAMAGE(odd_target, x->load->target = x->var)
DAMAGE(odd_guard, x->sum->guard = x->load)
DAMAGE(no_grid, x->grid->grid = 1)
DAMAGE(no_axis, x->index->axis = 9)
DAMAGE(no_reduce_axis, x->sum->axis = -1)
DAMAGE(no_reduction, x->sum->reduce = (ReduceKind)9)
DAMAGE(no_tensor, x->load->tensor = 3)
DAMAGE(no_expr, x->map->expr = NULL)
DAMAGE(no_body, x->loop->body = NULL)
DAMAGE(odd_body, x->load->body = x->loop->body)
DAMAGE(odd_else, x->loop->orelse = block_create(x->program, x->loop))
DAMAGE(wrong_owner, x->loop->body->owner = x->branch)
DAMAGE(wrong_parent, x->load->parent = x->loop->body)
DAMAGE(wrong_prev, x->load->prev = x->index)
DAMAGE(cycle, x->load->next = x->index)
DAMAGE(wrong_last, x->program->phases[0].body->last = x->load)
DAMAGE(no_phase_body, x->program->phases[0].body = NULL)
DAMAGE(bad_role, x->program->tensors[0].role = (TensorRole)9)
DAMAGE(bad_var_axis, x->var->type.axis[0] = 7)
DAMAGE(no_extent, x->program->stage = STAGE_LOGICAL; x->program->axes[0].extent_expr = NULL)
DAMAGE(bad_knob_extent, x->program->phases[0].grid[0].extent.div_knob = 2)
DAMAGE(expr_arg_index,
       x->map->expr = expr_op1(x->program->pool, EXPR_TOFLOAT, expr_arg(x->program->pool, 1, TYPE_INT)))
DAMAGE(expr_arg_type, x->map->expr = expr_arg(x->program->pool, 0, TYPE_FLOAT))
DAMAGE(expr_param_index, x->map->expr = expr_param(x->program->pool, 0, TYPE_FLOAT))
DAMAGE(expr_param_type, x->program->param_count = 1; x->program->params[0].name = "p";
       x->program->params[0].type = TYPE_INT; expr_param_index(x))
DAMAGE(expr_coordinate, x->map->expr = expr_var(x->program->pool, VAR_I0, TYPE_FLOAT))
DAMAGE(expr_size_type, x->map->expr = expr_var(x->program->pool, VAR_SIZE_M, TYPE_FLOAT))
DAMAGE(expr_input_leaf, x->map->expr = expr_input(x->program->pool, 0, TYPE_FLOAT,
                                                  (const Expr *[]){expr_int(x->program->pool, 0)}, 1))
DAMAGE(expr_sum, ExprPool *pool = x->program->pool; VarId bound = expr_fresh_bound(pool);
       x->map->expr = expr_reduce(pool, EXPR_SUM, bound, expr_var(pool, VAR_SIZE_M, TYPE_INT),
                                  expr_op1(pool, EXPR_SIN,
                                           expr_op1(pool, EXPR_TOFLOAT, expr_var(pool, bound, TYPE_INT)))))

static void damages(void)
{
    static const Damage damage[] = {
        {nothing, NULL},
        {bad_op, "unknown operator 12"},
        {bad_stage, "unknown stage 17"},
        {too_many, "more declarations than a program can hold"},
        {too_many_grid, "more declarations than a program can hold"},
        {taken_id, "the number 2 is taken or beyond the program's: in '%2 : f32[m] = load w(%1)'"},
        {far_id, "the number 12 is taken or beyond the program's"},
        {many_ids, "more than 1048576 instructions"},
        {no_arg, "the operand is missing: in '%2 : f32[m] = map (?) float($0)'"},
        {later_arg, "the operand %4 is not defined before"},
        {foreign_arg, "the operand %1 is not defined before"},
        {valueless_arg, "the operand is an instruction without a value"},
        {few_args, "-1 operands, map takes 0 to 24"},
        {many_args, "7 operands, load takes 1 to 6"},
        {value_lost, "map has a value"},
        {value_found, "store does not have a value"},
        {both_value_and_target, "contract has a value or a target, not both"},
        {neither, "contract has a value or a target, not both"},
        {no_target, "the target is missing: in 'set ? = %4'"},
        {odd_target, "only set and contract have a target"},
        {odd_guard, "only load and store have a guard"},
        {no_grid, "the phase's grid has no dimension 1: in '%0 = grid ?'"},
        {no_axis, "there is no axis 9"},
        {no_reduce_axis, "there is no axis -1"},
        {no_reduction, "unknown reduction 9"},
        {no_tensor, "there is no tensor 3: in '%4 : f32[m] = load ?(%1)'"},
        {no_expr, "the map has no expression"},
        {no_body, "a block is missing or too many: in '%7 = for %0 .. %0'"},
        {odd_body, "a block where there is none"},
        {odd_else, "a block is missing or too many"},
        {wrong_owner, "a block does not name the instruction that it belongs to"},
        {wrong_parent, "the links to its block or neighbours are wrong"},
        {wrong_prev, "the links to its block or neighbours are wrong"},
        {cycle, "the links to its block or neighbours are wrong"},
        {wrong_last, "a block's last instruction is not the end of its list"},
        {no_phase_body, "the phase has no body"},
        {bad_role, "the tensor 'w' has an unknown role or element type"},
        {bad_var_axis, "the variable's axes are not axes of the program in order"},
        {no_extent, "the axis 'm' has no whole number as its extent"},
        {bad_knob_extent, "the grid dimension 'b' is divided by a knob that there is not"},
        {expr_arg_index, "$1 stands for no operand"},
        {expr_arg_type, "$0 is float but the operand is i64[m]"},
        {expr_param_index, "the expression names param 0 of 0"},
        {expr_param_type, "the expression has the param 'p' with another type"},
        {expr_coordinate, "variable 3 is neither a size nor a knob"},
        {expr_size_type, "the size M is an int"},
        {expr_input_leaf, "an expression cannot read tensors: load first"},
        {expr_sum, "an expression cannot reduce: use reduce or contract"},
    };
    for (size_t k = 0; k < sizeof damage / sizeof *damage; k++) {
        Arena *arena = arena_create();
        Diag *diag = diag_create(arena);
        Broken x = build(arena);
        damage[k].damage(&x);
        bool sound = program_verify(x.program, diag);
        CU_ASSERT_EQUAL(sound, !damage[k].message);
        CU_ASSERT_EQUAL(sound, diag->errors == 0);
        if (damage[k].message)
            complains(diag, "a damaged program", damage[k].message);
        arena_destroy(arena);
    }
}

void verify_tests(void)
{
    CU_pSuite suite = CU_add_suite("verify", NULL, NULL);
    CU_add_test(suite, "texts", texts);
    CU_add_test(suite, "damages", damages);
}
