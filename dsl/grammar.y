/* The grammar. Actions only build the tree (ast_nodes.def says what each node holds); meaning is the checker's.
 *
 * A file holds, in any order,
 *
 *     import "std/windows"                      the functions of another file
 *     def near(i, j, n, w) = expr               a pure function; arguments and result may have types: (x: float): float
 *     attention NAME over (y, x) { item ... }   one variant; `over` names the axes of an n-D index
 *
 * and an attention holds items, each beginning with its own reserved word, so that neither line ends nor semicolons
 * mean anything:
 *
 *     param window: int = 1024                  set at launch;   `param const` is specialised
 *     input slope[h]: f32                       a tensor;        `learned input` has a gradient
 *     let near = i - j < window                 a name for an expression, for the items that follow
 *     mask expr       similarity expr      score expr      output expr      decay expr      normalize expr
 *     feature q, k [width] = expr               expr in x, the token's vector; [width] when it changes
 *     select source rule by expr always forced, ...        source, rule, forced: a name or a call
 *     return lse, column_sum
 *     stream b { item ... }                     a second score and normaliser
 *     schedule sm_90a { block_m = 128 }
 *
 * Expressions, loosest first (a line binds tighter than the one before it):
 *
 *     let x = e in e     if c then a else b     reach as far right as they can; as an operand they need parentheses
 *     or
 *     and
 *     not
 *     <  <=  >  >=  ==  !=                      chains: a <= b < c means a <= b and b < c
 *     +  -
 *     *  /  %
 *     -x
 *     ^                                         to the right: a ^ b ^ c = a ^ (b ^ c); -a ^ 2 = -(a ^ 2)
 *     f(x, eps = 1)  f(c in 0..n, body)  a[i, j]  i.y
 *     names, numbers, true, false, (e), (a, b)
 *
 * f(c in 0..n, body) reduces: sum, max, min, mean, prod, any, all of body for c = 0 ... n - 1; `vector` collects.
 *
 * Recovery: the words that begin an item are reserved, so after an error the parser goes on at the next of them. */

%code requires {
#include "dsl/parser.h"
}

%define api.pure full
%define api.prefix {dsl_yy}
%define api.location.type {Span}
%define parse.error custom
%define parse.lac full
%locations
%expect 0
%param { Parser *parser }

%code provides {
int dsl_yylex(DSL_YYSTYPE *value, Span *span, Parser *parser);
}

%code {
/* The parser's stacks grow in the arena; a stack deeper than this means nesting far past DSL_MAX_NESTING. */
#define YYMAXDEPTH 8000
#define YYSTACK_USE_ALLOCA 0
#define YYMALLOC(size) parser_allocate(size)
#define YYFREE(block) ((void)(block))
#define YYLLOC_DEFAULT(place, rhs, n)                                                                         \
    do {                                                                                                      \
        if (n)                                                                                                \
            (place) = span_join(YYRHSLOC(rhs, 1), YYRHSLOC(rhs, n));                                          \
        else                                                                                                  \
            (place) = (Span){YYRHSLOC(rhs, 0).file, YYRHSLOC(rhs, 0).end, YYRHSLOC(rhs, 0).end};              \
    } while (0)

static void dsl_yyerror(const Span *span, Parser *parser, const char *text);
static Node *node_error(Parser *parser, Span span);
}

%union {
    Token token;
    Node *node;
    NodeKind kind;
    unsigned flags;
}

%token END 0 "the end of the file"
%token <token> NAME "a name" STRING "a string" INTEGER "a number" REAL "a decimal number"
%token ATTENTION "attention" DEF "def" IMPORT "import" OVER "over"
%token PARAM "param" CONST "const" INPUT "input" LEARNED "learned" LET "let" MASK "mask" SIMILARITY "similarity"
%token SCORE "score" FEATURE "feature" NORMALIZE "normalize" DECAY "decay" SELECT "select" BY "by" ALWAYS "always"
%token OUTPUT "output" RETURN "return" STREAM "stream" SCHEDULE "schedule"
%token IF "if" THEN "then" ELSE "else" IN "in" TRUE "true" FALSE "false" OR "or" AND "and" NOT "not"
%token LE "<=" GE ">=" EQ "==" NE "!=" DOTDOT ".."

%type <node> declaration import def parameters parameter_list parameter result attention axes names name block items
%type <node> item dimensions width type default simple rule by always forced settings setting
%type <node> expr disjunction conjunction negation comparison chain sum product unary power postfix primary
%type <node> exprs arguments argument_list argument
%type <kind> clause compare add multiply
%type <flags> const learned

%%

file:
    %empty                              { parser->root = node_new(parser, NODE_FILE, @$, 0, NULL); }
  | file declaration                    { node_append(parser, parser->root, $2); }
  ;

declaration:
    import
  | def
  | attention
  | error                               { $$ = node_error(parser, @1); }
  ;

/* Once an item's or a declaration's word is there the parser knows where it is: report every error again. */
ok:
    %empty                              { yyerrok; }
  ;

import:
    IMPORT ok STRING                    { $$ = node_named(NODE(parser, NODE_IMPORT, @$, NULL), $3.name, @3); }
  ;

def:
    DEF ok NAME '(' parameters ')' result '=' expr
                                        { $$ = node_named(NODE(parser, NODE_DEF, @$, $5, $7, $9), $3.name, @3); }
  ;

parameters:
    %empty                              { $$ = node_new(parser, NODE_LIST, @$, 0, NULL); }
  | parameter_list
  ;

parameter_list:
    parameter                           { $$ = node_append(parser, NULL, $1); }
  | parameter_list ',' parameter        { $$ = node_append(parser, $1, $3); }
  ;

parameter:
    NAME result                         { $$ = node_named(NODE(parser, NODE_DEF_PARAM, @$, $2), $1.name, @1); }
  ;

result:
    %empty                              { $$ = NULL; }
  | ':' type                            { $$ = $2; }
  ;

attention:
    ATTENTION ok NAME axes block        { $$ = node_named(NODE(parser, NODE_ATTENTION, @$, $4, $5), $3.name, @3);
                                          $$->open = @5.begin; }
  | ATTENTION ok error block            { $$ = node_error(parser, @$); }
  ;

axes:
    %empty                              { $$ = NULL; }
  | OVER '(' names ')'                  { $$ = $3; }
  ;

names:
    name                                { $$ = node_append(parser, NULL, $1); }
  | names ',' name                      { $$ = node_append(parser, $1, $3); }
  ;

name:
    NAME                                { $$ = node_leaf(parser, NODE_NAME, @1, $1.name); }
  ;

block:
    '{' items '}'                       { $$ = $2; }
  ;

items:
    %empty                              { $$ = node_new(parser, NODE_LIST, @$, 0, NULL); }
  | items item                          { $$ = node_append(parser, $1, $2); }
  ;

item:
    PARAM ok const NAME ':' type default
                                        { $$ = node_named(NODE(parser, NODE_PARAM, @$, $6, $7), $4.name, @4);
                                          $$->flags = $3; }
  | learned INPUT ok NAME dimensions ':' type
                                        { $$ = node_named(NODE(parser, NODE_INPUT, @$, $5, $7), $4.name, @4);
                                          $$->flags = $1;
                                          if (!$1) $$->span.begin = @2.begin; }
  | LET NAME '=' expr                   { $$ = node_named(NODE(parser, NODE_LET, @$, $4), $2.name, @2); }
  | clause ok expr                      { $$ = NODE(parser, $1, @$, $3); }
  | FEATURE ok names width '=' expr     { $$ = NODE(parser, NODE_FEATURE, @$, $3, $4, $6); }
  | SELECT ok simple rule by always     { $$ = NODE(parser, NODE_SELECT, @$, $3, $4, $5, $6); }
  | RETURN ok names                     { $$ = NODE(parser, NODE_RETURN, @$, $3); }
  | STREAM ok NAME block                { $$ = node_named(NODE(parser, NODE_STREAM, @$, $4), $3.name, @3);
                                          $$->open = @4.begin; }
  | SCHEDULE ok NAME '{' settings '}'   { $$ = node_named(NODE(parser, NODE_SCHEDULE, @$, $5), $3.name, @3);
                                          $$->open = @4.begin; }
  | error                               { $$ = node_error(parser, @1); }
  ;

const:
    %empty                              { $$ = 0; }
  | CONST                               { $$ = NODE_CONST; }
  ;

learned:
    %empty                              { $$ = 0; }
  | LEARNED                             { $$ = NODE_LEARNED; }
  ;

clause:
    MASK                                { $$ = NODE_MASK; }
  | SIMILARITY                          { $$ = NODE_SIMILARITY; }
  | SCORE                               { $$ = NODE_SCORE; }
  | NORMALIZE                           { $$ = NODE_NORMALIZE; }
  | DECAY                               { $$ = NODE_DECAY; }
  | OUTPUT                              { $$ = NODE_OUTPUT; }
  ;

dimensions:
    %empty                              { $$ = NULL; }
  | '[' exprs ']'                       { $$ = $2; }
  ;

width:
    %empty                              { $$ = NULL; }
  | '[' expr ']'                        { $$ = $2; }
  ;

default:
    %empty                              { $$ = NULL; }
  | '=' expr                            { $$ = $2; }
  ;

type:
    NAME                                { $$ = node_leaf(parser, NODE_TYPE, @1, $1.name); }
  | NAME '(' exprs ')'                  { $$ = node_named(node_new(parser, NODE_TYPE, @$, $3->count, $3->child),
                                                          $1.name, @1); }
  ;

/* What `select` is made of: a name or a call, so that the next one can follow it. */
simple:
    name
  | NAME '(' arguments ')'              { $$ = node_call(parser, $1.name, @1, $3, @$); }
  ;

rule:
    %empty                              { $$ = NULL; }
  | simple
  ;

by:
    %empty                              { $$ = NULL; }
  | BY expr                             { $$ = $2; }
  ;

always:
    %empty                              { $$ = NULL; }
  | ALWAYS forced                       { $$ = $2; }
  ;

forced:
    simple                              { $$ = node_append(parser, NULL, $1); }
  | forced ',' simple                   { $$ = node_append(parser, $1, $3); }
  ;

settings:
    %empty                              { $$ = node_new(parser, NODE_LIST, @$, 0, NULL); }
  | settings setting                    { $$ = node_append(parser, $1, $2); }
  ;

setting:
    NAME '=' expr                       { $$ = node_named(NODE(parser, NODE_SETTING, @$, $3), $1.name, @1); }
  | error                               { $$ = node_error(parser, @1); }
  ;

expr:
    disjunction
  | LET NAME '=' expr IN expr           { $$ = node_named(NODE(parser, NODE_LET_IN, @$, $4, $6), $2.name, @2); }
  | IF expr THEN expr ELSE expr         { $$ = NODE(parser, NODE_IF, @$, $2, $4, $6); }
  ;

disjunction:
    conjunction
  | disjunction OR conjunction          { $$ = NODE(parser, NODE_OR, @$, $1, $3); }
  ;

conjunction:
    negation
  | conjunction AND negation            { $$ = NODE(parser, NODE_AND, @$, $1, $3); }
  ;

negation:
    comparison
  | NOT negation                        { $$ = NODE(parser, NODE_NOT, @$, $2); }
  ;

comparison:
    sum
  | chain
  ;

chain:
    sum compare sum                     { $$ = NODE(parser, $2, @$, $1, $3); }
  | chain compare sum                   { $$ = node_chain(parser, $2, $1, $3, @$); }
  ;

compare:
    '<'                                 { $$ = NODE_LT; }
  | LE                                  { $$ = NODE_LE; }
  | '>'                                 { $$ = NODE_GT; }
  | GE                                  { $$ = NODE_GE; }
  | EQ                                  { $$ = NODE_EQ; }
  | NE                                  { $$ = NODE_NE; }
  ;

sum:
    product
  | sum add product                     { $$ = NODE(parser, $2, @$, $1, $3); }
  ;

add:
    '+'                                 { $$ = NODE_ADD; }
  | '-'                                 { $$ = NODE_SUB; }
  ;

product:
    unary
  | product multiply unary              { $$ = NODE(parser, $2, @$, $1, $3); }
  ;

multiply:
    '*'                                 { $$ = NODE_MUL; }
  | '/'                                 { $$ = NODE_DIV; }
  | '%'                                 { $$ = NODE_MOD; }
  ;

unary:
    power
  | '-' unary                           { $$ = NODE(parser, NODE_NEG, @$, $2); }
  ;

power:
    postfix
  | postfix '^' unary                   { $$ = NODE(parser, NODE_POW, @$, $1, $3); }
  ;

postfix:
    primary
  | postfix '[' exprs ']'               { $$ = NODE(parser, NODE_INDEX, @$, $1);
                                          for (int i = 0; i < $3->count; i++)
                                              node_append(parser, $$, $3->child[i]);
                                          $$->span = @$; }
  | postfix '.' NAME                    { $$ = node_named(NODE(parser, NODE_MEMBER, @$, $1), $3.name, @3); }
  ;

primary:
    name
  | INTEGER                             { $$ = node_leaf(parser, NODE_INTEGER, @1, $1.name);
                                          $$->integer = $1.integer; }
  | REAL                                { $$ = node_leaf(parser, NODE_REAL, @1, $1.name);
                                          $$->number = $1.number; }
  | TRUE                                { $$ = node_new(parser, NODE_BOOLEAN, @1, 0, NULL); $$->integer = 1; }
  | FALSE                               { $$ = node_new(parser, NODE_BOOLEAN, @1, 0, NULL); }
  | NAME '(' arguments ')'              { $$ = node_call(parser, $1.name, @1, $3, @$); }
  | NAME '(' NAME IN expr DOTDOT expr ',' expr ')'
                                        { Node *variable = node_leaf(parser, NODE_NAME, @3, $3.name);
                                          $$ = node_named(NODE(parser, NODE_REDUCE, @$, variable, $5, $7, $9),
                                                          $1.name, @1); }
  | '(' expr ')'                        { $$ = $2; }
  | '(' expr ',' exprs ')'              { $$ = NODE(parser, NODE_TUPLE, @$, $2);
                                          for (int i = 0; i < $4->count; i++)
                                              node_append(parser, $$, $4->child[i]);
                                          $$->span = @$; }
  ;

exprs:
    expr                                { $$ = node_append(parser, NULL, $1); }
  | exprs ',' expr                      { $$ = node_append(parser, $1, $3); }
  ;

arguments:
    %empty                              { $$ = NULL; }
  | argument_list
  ;

argument_list:
    argument                            { $$ = node_append(parser, NULL, $1); }
  | argument_list ',' argument          { $$ = node_append(parser, $1, $3); }
  ;

argument:
    expr
  | NAME '=' expr                       { $$ = node_named(NODE(parser, NODE_NAMED, @$, $3), $1.name, @1); }
  ;

%%

static Node *node_error(Parser *parser, Span span)
{
    return node_new(parser, NODE_ERROR, span, 0, NULL);
}

/* Only called when the stack passes YYMAXDEPTH; syntax errors go to yyreport_syntax_error. */
static void dsl_yyerror(const Span *span, Parser *parser, const char *text)
{
    (void)text;
    parser_stop(parser, *span, "nesting", "nested more than %d deep", DSL_MAX_NESTING);
}

static int yyreport_syntax_error(const yypcontext_t *context, Parser *parser)
{
    enum { MOST = YYNTOKENS };
    yysymbol_kind_t expected[MOST];
    const char *words[MOST];
    int count = yypcontext_expected_tokens(context, expected, MOST);
    if (count < 0)
        return count;
    for (int i = 0; i < count; i++)
        words[i] = yysymbol_name(expected[i]);
    parser_syntax_error(parser, *yypcontext_location(context), yysymbol_name(yypcontext_token(context)), words,
                        count);
    return 0;
}
