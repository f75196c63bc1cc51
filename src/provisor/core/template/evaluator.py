"""Running a template. Nodes become closures once; a rendering calls them.

A value that Go would hold in an `interface {}` differs from the bare one in two ways that can be seen: the
type that an error names, and that a nil in it is not "no value". A pipeline's result is always bare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NoReturn, final

from provisor.core.template import nodes
from provisor.core.template.builtins import BUILTINS
from provisor.core.template.errors import ExecutionError, FunctionError, LimitReached
from provisor.core.template.function import ACCEPTS, ANY, RAW, Function, nil_of
from provisor.core.template.limits import DEPTH, OUTPUT, Budget, World
from provisor.core.template.nodes import (
    Action,
    Branch,
    Call,
    Chain,
    Command,
    FieldPath,
    Identifier,
    Leave,
    Node,
    Number,
    Pipe,
    Text,
    Variable,
)
from provisor.core.template.numerals import quoted
from provisor.core.template.parser import MAIN, parse
from provisor.core.template.printing import to_text
from provisor.core.template.times import GoDuration
from provisor.core.template.values import (
    INTERFACE,
    NO_VALUE,
    Bytes,
    Int64,
    Map,
    Method,
    NilPointer,
    Slice,
    Struct,
    Uint32,
    Value,
    element_type,
    is_true,
    items_of,
    joined,
    octets,
    type_name,
)
from provisor.core.template.values import Number as TypedNumber

Evaluate = Callable[["State", Value], Value]
"""Of a node, with the state and the dot."""
Execute = Callable[["State", Value], str]
"""Of a node that prints; answers `break`, `continue` or ""."""

GO_DEPTH: Final = 100_000
"""What Go says of templates that call each other for ever. Ours ends sooner, in the same words."""


class State:
    """One rendering of one template. `node` is where an error would be."""

    __slots__ = ("boxed", "budget", "depth", "name", "node", "output", "program", "variables")

    def __init__(self, program: Template, budget: Budget, output: list[str], name: str, dot: Value, depth: int) -> None:
        self.program = program
        self.budget = budget
        self.output = output
        self.name = name
        self.depth = depth
        self.node: Node = _NOWHERE
        self.variables: list[tuple[str, Value, bool]] = [("$", dot, False)]
        self.boxed = False

    def error(self, reason: str) -> ExecutionError:
        return self.program.error(self, reason)

    def fail(self, reason: str) -> NoReturn:
        raise self.error(reason)

    def write(self, text: str) -> None:
        self.budget.output -= len(text)
        if self.budget.output < 0:
            raise LimitReached(f"the template prints more than {OUTPUT} characters")
        self.output.append(text)

    def assign(self, name: str, value: Value, boxed: bool = False) -> None:
        """To the innermost variable of the name."""
        for at in range(len(self.variables) - 1, -1, -1):
            if self.variables[at][0] == name:
                self.variables[at] = (name, value, boxed)
                return
        self.fail(f"undefined variable: {name}")


_NOWHERE: Final = nodes.Dot(0)


@final
class Template:
    """A parsed template. Holds no data, and may be rendered by several threads at once."""

    def __init__(self, text: str, functions: Mapping[str, Function]) -> None:
        """Raises `ParseError`."""
        known = functions if "len" in functions else {**BUILTINS, **functions}
        self.text = text
        compiler = _Compiler(known)
        self._bodies = {name: compiler.body(body) for name, body in parse(text, known.keys()).items()}

    def render(self, data: Value, world: World) -> str:
        """What the template prints about `data`.

        Raises `TemplateFailed` when it says so itself, `ExecutionError` for all other reasons.
        """
        budget = Budget(world)
        output: list[str] = []
        state = State(self, budget, output, MAIN, data, 0)
        try:
            self._bodies[MAIN](state, data)
        except (LimitReached, FunctionError) as error:
            raise self.error(state, str(error)) from error
        except RecursionError:
            raise self.error(state, "nested too deeply") from None
        return joined("".join(output))

    def error(self, state: State, reason: str) -> ExecutionError:
        position = state.node.position
        before = self.text[:position]
        line = before.count("\n") + 1
        column = len(octets(before[before.rfind("\n") + 1 :]))
        expression = str(state.node)
        where = f"template: {MAIN}:{line}:{column}: executing {quoted(state.name)} at <{expression}>"
        return ExecutionError(f"{where}: {reason}", name=state.name, line=line, column=column, expression=expression)

    def call(self, state: State, name: str, dot: Value) -> None:
        """Run another template of the same text."""
        inner = State(self, state.budget, state.output, name, dot, state.depth + 1)
        try:
            self._bodies[name](inner, dot)
        except (LimitReached, FunctionError) as error:
            raise self.error(inner, str(error)) from error

    def has(self, name: str) -> bool:
        return name in self._bodies


# -- fields --------------------------------------------------------------------------------------


def _bare(value: Value) -> Value:
    """What a pipeline makes of a value: a nil in an interface is no value."""
    return NO_VALUE if value is None else value


def _follow(state: State, value: Value, boxed: bool, names: Sequence[str], node: Node) -> tuple[Value, bool]:
    """The value at the end of `.a.b`, and whether it stands in an interface."""
    for name in names:
        kind = type(value)
        if kind is dict:
            value, boxed = value.get(name, NO_VALUE), True
        elif value is NO_VALUE:
            return NO_VALUE, False
        else:
            value, boxed = _member(state, value, boxed, name, node)
    return value, boxed


def _member(state: State, value: Value, boxed: bool, name: str, node: Node) -> tuple[Value, bool]:
    shown = INTERFACE if boxed else type_name(value)
    if value is None:
        state.fail(f"nil pointer evaluating {INTERFACE}.{name}")
    methods: Mapping[str, Method] = getattr(value, "methods", {})
    method = methods.get(name)
    if method is not None:
        return _call_method(state, value, name, method, node, (), ()), False
    if isinstance(value, Struct):
        for member in value.members:
            if member.name == name:
                if name in value.hidden:
                    state.fail(f"{name} is an unexported field of struct type {shown}")
                return value.values[name], member.static == INTERFACE
    elif isinstance(value, dict):
        return value.get(name, NO_VALUE), element_type(value) == INTERFACE
    elif isinstance(value, NilPointer) and name in value.members:
        state.fail(f"nil pointer evaluating {shown}.{name}")
    raise state.error(f"can't evaluate field {name} in type {shown}")


def _follow_with(
    state: State,
    dot: Value,
    value: Value,
    boxed: bool,
    names: Sequence[str],
    node: Node,
    words: Arguments,
    final: Value,
) -> Value:
    """As `_follow`, with arguments for the last name, which must be a method's then."""
    if not words and final is _MISSING:
        return _follow(state, value, boxed, names, node)[0]
    value, boxed = _follow(state, value, boxed, names[:-1], node)
    if value is NO_VALUE:
        return NO_VALUE
    name = names[-1]
    method = getattr(value, "methods", {}).get(name)
    if method is not None:
        return _call_method(state, value, name, method, node, words, () if final is _MISSING else (final,), dot)
    if isinstance(value, dict):
        state.fail(f"{name} is not a method but has arguments")
    if isinstance(value, Struct) and any(member.name == name for member in value.members):
        state.fail(f"{name} has arguments but cannot be invoked as function")
    _member(state, value, boxed, name, node)
    raise AssertionError(f"{name} is no method")


def _call_method(
    state: State,
    receiver: Value,
    name: str,
    method: Method,
    node: Node,
    words: Arguments,
    final: tuple[Value, ...],
    dot: Value = None,
) -> Value:
    got = len(words) + len(final)
    if got != len(method.parameters):
        state.fail(f"wrong number of args for {name}: want {len(method.parameters)} got {got}")
    if method.call is None:
        state.fail(method.results)
    arguments = [word(parameter)(state, dot) for word, parameter in zip(words, method.parameters, strict=False)]
    arguments += [_fit(state, value, method.parameters[-1]) for value in final]
    try:
        return method.call(receiver, *arguments)
    except FunctionError as error:
        state.node = node
        state.fail(f"error calling {name}: {error}")


# -- arguments -----------------------------------------------------------------------------------

Arguments = Sequence[Callable[[str], Evaluate]]
"""For each argument, how it is evaluated once the type it must fit is known."""


class _Missing:
    """No value comes through the pipe."""


_MISSING: Final = _Missing()


def _fit(state: State, value: Value, parameter: str) -> Value:
    """The value as an argument of a type, as `reflect` would pass it."""
    if parameter == RAW:
        return value
    if parameter == ANY:
        return None if value is NO_VALUE else value
    if value is NO_VALUE:
        nil = nil_of(parameter)
        if nil is NO_VALUE:
            state.fail(f"invalid value; expected {parameter}")
        return nil
    if ACCEPTS[parameter](value):
        return value
    shown = INTERFACE if value is None else type_name(value)
    raise state.error(f"wrong type for value; expected {parameter}; got {shown}")


def _constant(value: Value) -> Evaluate:
    return lambda _state, _dot: value


def _failing(node: Node, reason: str) -> Evaluate:
    def fail(state: State, _dot: Value) -> Value:
        state.node = node
        state.fail(reason)

    return fail


def _ideal(node: Number) -> tuple[Value, str]:
    """What a numeric constant is without a type to fit, or why it is nothing."""
    if node.complex is not None:
        return node.complex, ""
    text = node.source
    is_hex = text.lstrip("+-")[:2].lower() == "0x" and not set(text) & set("pP")
    if node.real is not None and not is_hex and text[0] != "'" and set(text) & set(".eEpP"):
        return node.real, ""
    if node.signed is not None:
        return node.signed, ""
    return None, f"{text} overflows int"


class _Compiler:
    def __init__(self, functions: Mapping[str, Function]) -> None:
        self._functions = functions

    # -- what prints -----------------------------------------------------------------------------

    def body(self, body: Iterable[Node]) -> Execute:
        steps = [self._step(node) for node in body]
        if len(steps) == 1:
            return steps[0]

        def run(state: State, dot: Value) -> str:
            for step in steps:
                leaves = step(state, dot)
                if leaves:
                    return leaves
            return ""

        return run

    def _step(self, node: Node) -> Execute:
        if isinstance(node, Text):
            return self._text(node)
        if isinstance(node, Action):
            return self._action(node)
        if isinstance(node, Branch):
            return self._range(node) if node.word == "range" else self._condition(node)
        if isinstance(node, Leave):
            word = node.word
            return lambda _state, _dot: word
        assert isinstance(node, Call)
        return self._call(node)

    def _text(self, node: Text) -> Execute:
        text = node.text

        def run(state: State, _dot: Value) -> str:
            state.write(text)
            return ""

        return run

    def _action(self, node: Action) -> Execute:
        pipe = self._pipe(node.pipe)
        silent = bool(node.pipe.declared)

        def run(state: State, dot: Value) -> str:
            state.budget.step()
            value = pipe(state, dot)
            if not silent:
                state.node = node
                state.write(_printed(value, state.budget))
            return ""

        return run

    def _condition(self, node: Branch) -> Execute:
        pipe, body = self._pipe(node.pipe), self.body(node.body)
        otherwise = None if node.otherwise is None else self.body(node.otherwise)
        moves_dot = node.word == "with"

        def run(state: State, dot: Value) -> str:
            state.budget.step()
            scope = len(state.variables)
            leaves = ""
            value = pipe(state, dot)
            if is_true(value):
                if moves_dot:
                    boxed, state.boxed = state.boxed, False
                    leaves = body(state, value)
                    state.boxed = boxed
                else:
                    leaves = body(state, dot)
            elif otherwise is not None:
                leaves = otherwise(state, dot)
            del state.variables[scope:]
            return leaves

        return run

    def _range(self, node: Branch) -> Execute:
        pipe, body = self._pipe(node.pipe), self.body(node.body)
        otherwise = None if node.otherwise is None else self.body(node.otherwise)
        names = [variable.name for variable in node.pipe.declared]
        assigns = node.pipe.assigns

        def set_variables(state: State, index: Value, item: Value, boxed: bool) -> None:
            if assigns:
                if len(names) > 1:
                    state.assign(names[0], index)
                state.assign(names[-1], item, boxed)
                return
            if len(names) > 1:
                state.variables[-2] = (names[0], index, False)
            state.variables[-1] = (names[-1], item, boxed)

        def run(state: State, dot: Value) -> str:
            scope = len(state.variables)
            value = pipe(state, dot)
            mark = len(state.variables)
            ran = False
            leaves = ""
            boxed_dot = state.boxed
            boxed = element_type(value) == INTERFACE and not isinstance(value, int)
            for index, item in _iterate(state, value, len(names)):
                ran = True
                state.budget.step()
                if names:
                    set_variables(state, index, item, boxed)
                state.boxed = boxed
                leaves = body(state, item)
                del state.variables[mark:]
                if leaves == "break":
                    break
            state.boxed = boxed_dot
            leaves = ""
            if not ran and otherwise is not None:
                leaves = otherwise(state, dot)
            del state.variables[scope:]
            return leaves

        return run

    def _call(self, node: Call) -> Execute:
        pipe = None if node.pipe is None else self._pipe(node.pipe)

        def run(state: State, dot: Value) -> str:
            state.budget.step()
            state.node = node
            if not state.program.has(node.name):
                state.fail(f"template {quoted(node.name)} not defined")
            if state.depth >= DEPTH:
                state.fail(f"exceeded maximum template depth ({GO_DEPTH})")
            value = NO_VALUE if pipe is None else pipe(state, dot)
            state.program.call(state, node.name, value)
            return ""

        return run

    # -- what has a value ------------------------------------------------------------------------

    def _pipe(self, pipe: Pipe) -> Evaluate:
        commands = [self._command(command) for command in pipe.commands]
        first, rest = commands[0], commands[1:]
        names = [variable.name for variable in pipe.declared]
        assigns = pipe.assigns
        if not rest and not names:

            def single(state: State, dot: Value) -> Value:
                state.node = pipe
                value = first(state, dot, _MISSING)
                return NO_VALUE if value is None else value

            return single

        def run(state: State, dot: Value) -> Value:
            state.node = pipe
            value = _bare(first(state, dot, _MISSING))
            for command in rest:
                value = _bare(command(state, dot, value))
            for name in names:
                if assigns:
                    state.assign(name, value)
                else:
                    state.variables.append((name, value, False))
            return value

        return run

    def _command(self, command: Command) -> Callable[[State, Value, Value], Value]:
        word = command.words[0]
        arguments = [self._argument(node) for node in command.words[1:]]
        if isinstance(word, Identifier):
            return self._function(word, command, arguments)
        if isinstance(word, FieldPath):
            names = word.names

            def by_field(state: State, dot: Value, final: Value) -> Value:
                state.node = word
                if not arguments and final is _MISSING:
                    return _follow(state, dot, state.boxed, names, word)[0]
                return _follow_with(state, dot, dot, state.boxed, names, word, arguments, final)

            return by_field
        if isinstance(word, Chain):
            base = self._base(word)

            def by_chain(state: State, dot: Value, final: Value) -> Value:
                state.node = word
                return _follow_with(state, dot, base(state, dot), False, word.names, word, arguments, final)

            return by_chain
        if isinstance(word, Variable):
            return self._variable_command(word, arguments)
        return self._value_command(word, bool(arguments))

    def _base(self, chain: Chain) -> Evaluate:
        if isinstance(chain.base, nodes.Nil):
            return _failing(chain, f"indirection through explicit nil in {chain}")
        return self._argument(chain.base)(RAW)

    def _variable_command(self, word: Variable, arguments: Arguments) -> Callable[[State, Value, Value], Value]:
        def run(state: State, dot: Value, final: Value) -> Value:
            state.node = word
            value, boxed = _variable(state, word.name)
            if word.names:
                return _follow_with(state, dot, value, boxed, word.names, word, arguments, final)
            if arguments or final is not _MISSING:
                state.fail(f"can't give argument to non-function {word}")
            return value

        return run

    def _value_command(self, word: Node, has_arguments: bool) -> Callable[[State, Value, Value], Value]:
        evaluate: Evaluate
        is_pipe = isinstance(word, Pipe)
        if isinstance(word, Pipe):
            evaluate = self._pipe(word)
        elif isinstance(word, nodes.Dot):
            evaluate = _dot
        elif isinstance(word, nodes.Nil):
            evaluate = _failing(word, "nil is not a command")
        elif isinstance(word, Number):
            value, reason = _ideal(word)
            evaluate = _failing(word, reason) if reason else _constant(value)
        else:
            assert isinstance(word, nodes.Bool | nodes.String)
            evaluate = _constant(word.value)

        def run(state: State, dot: Value, final: Value) -> Value:
            if not is_pipe:
                state.node = word
            if has_arguments or final is not _MISSING:
                state.fail(f"can't give argument to non-function {word}")
            return evaluate(state, dot)

        return run

    def _function(self, word: Identifier, node: Node, arguments: Arguments) -> Callable[[State, Value, Value], Value]:
        name = word.name
        function = self._functions[name]
        if name in ("and", "or"):
            return self._logical(word, arguments)
        count, fixed, variadic = len(arguments), function.fixed, function.variadic
        parts = [
            argument(function.parameter(number))
            for number, argument in enumerate(arguments)
            if number < fixed or variadic
        ]
        call = function.call
        right = count >= fixed if variadic else count == fixed
        right_with_final = count + 1 >= fixed if variadic else count + 1 == fixed
        want = f"at least {fixed}" if variadic else str(fixed)

        def run(state: State, dot: Value, final: Value) -> Value:
            state.node = word
            state.budget.step()
            if final is _MISSING:
                if not right:
                    state.fail(f"wrong number of args for {name}: want {want} got {count}")
                values = [part(state, dot) for part in parts]
            else:
                if not right_with_final:
                    got = count if variadic else count + 1
                    state.fail(f"wrong number of args for {name}: want {want} got {got}")
                values = [part(state, dot) for part in parts]
                values.append(_fit(state, final, function.parameter(count)))
            try:
                return call(state.budget, *values)
            except FunctionError as error:
                state.node = node
                state.fail(f"error calling {name}: {error}")
            except LimitReached:
                state.node = node
                raise

        if name == "call":
            shown = _call_name(node)
            inner = call

            def call(budget: Budget, *values: Value) -> Value:
                return inner(budget, shown, *values)

        return run

    def _logical(self, word: Identifier, arguments: Arguments) -> Callable[[State, Value, Value], Value]:
        """`and` and `or`: arguments behind the one that decides are not evaluated."""
        parts = [argument(RAW) for argument in arguments]
        stops = word.name == "or"

        def run(state: State, dot: Value, final: Value) -> Value:
            state.node = word
            state.budget.step()
            if not parts and final is _MISSING:
                state.fail(f"wrong number of args for {word.name}: want at least 1 got 0")
            value: Value = NO_VALUE
            for part in parts:
                value = part(state, dot)
                if is_true(value) is stops:
                    return value
            return value if final is _MISSING else final

        return run

    # -- arguments -------------------------------------------------------------------------------

    def _argument(self, node: Node) -> Callable[[str], Evaluate]:
        """How an argument is evaluated for a parameter of a type."""

        def for_type(parameter: str) -> Evaluate:
            if isinstance(node, nodes.Nil):
                return self._nil_argument(node, parameter)
            if isinstance(node, nodes.Bool | nodes.String | Number):
                return self._constant_argument(node, parameter)
            evaluate = self._evaluate(node)
            if parameter == RAW:
                return evaluate

            def run(state: State, dot: Value) -> Value:
                value = evaluate(state, dot)
                if parameter == ANY:
                    return None if value is NO_VALUE else value
                return _fit(state, value, parameter)

            return run

        return for_type

    def _nil_argument(self, node: Node, parameter: str) -> Evaluate:
        if parameter in (ANY, RAW):
            nil: Value = None if parameter == ANY else NO_VALUE
        else:
            nil = nil_of(parameter)
            if nil is NO_VALUE:
                return _failing(node, f"cannot assign nil to {parameter}")

        def run(state: State, _dot: Value) -> Value:
            state.node = node
            return nil

        return run

    def _constant_argument(self, node: nodes.Bool | nodes.String | Number, parameter: str) -> Evaluate:
        value, reason = _typed_constant(node, parameter)
        if reason:
            return _failing(node, reason)

        def run(state: State, _dot: Value) -> Value:
            state.node = node
            return value

        return run

    def _evaluate(self, node: Node) -> Evaluate:
        """A word that is no constant, as it stands."""
        if isinstance(node, nodes.Dot):
            return _dot_argument(node)
        if isinstance(node, FieldPath):
            names = node.names

            def by_field(state: State, dot: Value) -> Value:
                state.node = node
                return _follow(state, dot, state.boxed, names, node)[0]

            return by_field
        if isinstance(node, Variable):
            return _variable_argument(node)
        if isinstance(node, Pipe):
            return self._pipe(node)
        if isinstance(node, Chain):
            base = self._base(node)

            def by_chain(state: State, dot: Value) -> Value:
                state.node = node
                return _follow(state, base(state, dot), False, node.names, node)[0]

            return by_chain
        assert isinstance(node, Identifier)
        function = self._function(node, node, ())
        return lambda state, dot: function(state, dot, _MISSING)


def _call_name(node: Node) -> str:
    """What `call` names the thing it cannot call by."""
    return _shown_word(node.words[1]) if isinstance(node, Command) and len(node.words) > 1 else ""


def _shown_word(node: Node) -> str:
    return str(node)


def _dot(_state: State, dot: Value) -> Value:
    return dot


def _dot_argument(node: Node) -> Evaluate:
    def run(state: State, dot: Value) -> Value:
        state.node = node
        return dot

    return run


def _variable_argument(node: Variable) -> Evaluate:
    def run(state: State, _dot: Value) -> Value:
        state.node = node
        value, boxed = _variable(state, node.name)
        return _follow(state, value, boxed, node.names, node)[0] if node.names else value

    return run


def _variable(state: State, name: str) -> tuple[Value, bool]:
    for known, value, boxed in reversed(state.variables):
        if known == name:
            return value, boxed
    raise state.error(f"undefined variable: {name}")


def _typed_constant(node: nodes.Bool | nodes.String | Number, parameter: str) -> tuple[Value, str]:
    """A constant as a value of a type, or why it is none."""
    if parameter in (ANY, RAW):
        return _ideal(node) if isinstance(node, Number) else (node.value, "")
    if parameter == "string":
        return (node.value, "") if isinstance(node, nodes.String) else (None, f"expected string; found {node}")
    if parameter == "bool":
        return (node.value, "") if isinstance(node, nodes.Bool) else (None, f"expected bool; found {node}")
    if parameter in _INTEGERS:
        if isinstance(node, Number) and node.signed is not None:
            return _INTEGERS[parameter](node.signed), ""
        return None, f"expected integer; found {node}"
    if parameter == "uint32":
        if isinstance(node, Number) and node.unsigned is not None:
            return Uint32(node.unsigned % 2**32), ""
        return None, f"expected unsigned integer; found {node}"
    if parameter == "float64":
        if isinstance(node, Number) and node.real is not None:
            return node.real, ""
        return None, f"expected float; found {node}"
    return None, f"can't handle {node} for arg of type {parameter}"


_INTEGERS: Final[Mapping[str, Callable[[int], Value]]] = {"int": int, "int64": Int64, "time.Duration": GoDuration}


def _iterate(state: State, value: Value, names: int) -> Iterable[tuple[Value, Value]]:
    kind = type(value)
    if kind is list or isinstance(value, Slice | Bytes):
        return enumerate(list(items_of(value)))
    if isinstance(value, dict):
        return [(key, value[key]) for key in sorted(value, key=octets)]
    if value is NO_VALUE:
        return ()
    if kind is int or isinstance(value, TypedNumber):
        if names > 1:
            state.fail(f"can't use {to_text(value, state.budget)} to iterate over more than one variable")
        make = kind
        return ((NO_VALUE, make(number)) for number in range(value))
    raise state.error(f"range can't iterate over {to_text(value, state.budget)}")


def _printed(value: Value, budget: Budget) -> str:
    """As an action prints its value: a pointer's target, `<no value>` for nothing."""
    if type(value) is str:
        return value
    if value is NO_VALUE or value is None:
        return "<no value>"
    if isinstance(value, Struct) and value.pointer:
        text = to_text(value, budget)
        return text.removeprefix("&") if value.text() is None else text
    if isinstance(value, Map) and value.nil:
        return "map[]"
    return to_text(value, budget)
