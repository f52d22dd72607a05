"""Options of the command line, which become a request, or are refused by the word that is wrong."""

import subprocess
import sys
import time

import grpc
import pytest
from tests.client.conftest import COMMAND

from ellq.v1 import compression_pb2 as pb
from ellq_client.cli import exits
from ellq_client.cli.choices import RULE_OPTIONS
from ellq_client.cli.wording import in_options
from ellq_client.rules import RULES


def test_options_become_the_request(ellq, fake, checkpoint):
    words = """
        --rule pq-index --q 1.5 --beta 0.5 --scope layer --index-q 0.25 --index-pq 0.5 2 --include a* --include b* --exclude c*
        --override d=skip --override e=axis:0,1 --override f=tail:epsilon=0.01,p=1,scope=layer --nonfinite pass-through
        --ignore-zeros --neurons --distribution
    """
    assert ellq("analyze", checkpoint, *words.split())[0] == 0
    assert fake.requests == [
        pb.AnalyzeOptions(
            selection=pb.Selection(
                include=["a*", "b*"],
                exclude=["c*"],
                overrides=[
                    pb.TensorOverride(glob="d", skip=True),
                    pb.TensorOverride(glob="e", neuron_axis=[0, 1]),
                    pb.TensorOverride(glob="f", rule=pb.Rule(scope=pb.SCOPE_LAYER, tail=pb.TailRule(epsilon=0.01, p=1))),
                ],
            ),
            indices=pb.IndexOptions(q=0.25, pq_p=0.5, pq_q=2),
            rule=pb.Rule(scope=pb.SCOPE_LAYER, pq_index=pb.PqIndexRule(p=0.5, q=1.5, gamma=1, beta=0.5)),
            nonfinite=pb.NONFINITE_POLICY_PASS_THROUGH,
            ignore_zeros=True,
            neuron_reports=True,
            distribution=True,
        )
    ]


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (
            "options.rule.error_budget of GRADE_BOX needs options.network.inputs.box",
            "--rule error-budget of grade box needs --box",
        ),
        (
            "of GRADE_MEAN_SQUARE needs moments, which come in frames before the data",
            "of grade mean-square needs moments: give --moments FILE",
        ),
        ("options.network.topology: tensor 'a' is not in the stream", "--network: tensor 'a' is not in the stream"),
        ("options.remove_dead_neurons needs options.network", "--remove-dead-neurons needs --network"),
        ("rule.error_budget.max_error: 0 is out of range", "--max-error: 0 is out of range"),
    ],
)
def test_fields_are_told_as_options(message, told):
    assert in_options(message) == told


def test_every_rule_has_its_options():
    assert {name.replace("-", "_") for name in RULE_OPTIONS} == set(RULES)
    fields_of = {"ratio": "pruned_ratio", "max-error": "max_error"}
    for name, options in RULE_OPTIONS.items():
        fields = set(RULES[name.replace("-", "_")].__dataclass_fields__) - {"scope", "kind"}
        assert {fields_of.get(option, option) for option in options} == fields


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("sparsity-index", pb.Rule(scope=1, sparsity_index=pb.SparsityIndexRule(q=0.5))),
        ("pq-index", pb.Rule(scope=1, pq_index=pb.PqIndexRule(p=0.5, q=1, gamma=1, beta=0.9))),
        ("tail --epsilon 0.1", pb.Rule(scope=1, tail=pb.TailRule(epsilon=0.1, p=2))),
        ("lq-bound --epsilon 0.1", pb.Rule(scope=1, lq_bound=pb.LqBoundRule(epsilon=0.1, q=0.5, p=2))),
        ("fraction --ratio 0.3", pb.Rule(scope=1, fraction=pb.FractionRule(pruned_ratio=0.3))),
        ("n-of-m", pb.Rule(scope=1, n_of_m=pb.NOfMRule(n=2, m=4))),
        (
            "error-budget --max-error 0.5",
            pb.Rule(scope=3, error_budget=pb.ErrorBudgetRule(max_error=0.5, grade=pb.GRADE_MEAN_SQUARE)),
        ),
        (
            "error-budget --ratio 0.5 --grade box --measured",
            pb.Rule(scope=3, error_budget=pb.ErrorBudgetRule(pruned_ratio=0.5, grade=pb.GRADE_BOX, measured=True)),
        ),
        ("lasso --epsilon 0.1", pb.Rule(scope=1, lasso=pb.LassoRule(epsilon=0.1))),
        ("sparsity_index", pb.Rule(scope=1, sparsity_index=pb.SparsityIndexRule(q=0.5))),  # as reports have them
        ("n_of_m", pb.Rule(scope=1, n_of_m=pb.NOfMRule(n=2, m=4))),
        (
            "error_budget --max-error 0.5 --grade mean_square",
            pb.Rule(scope=3, error_budget=pb.ErrorBudgetRule(max_error=0.5, grade=pb.GRADE_MEAN_SQUARE)),
        ),
    ],
)
def test_defaults_are_those_that_help_tells(ellq, fake, checkpoint, rule, expected):
    assert ellq("analyze", checkpoint, "--rule", *rule.split())[0] == 0
    assert fake.requests[0].rule == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--rule magic", "'magic' is not one of sparsity-index"),
        ("--rule tail", "--epsilon: the rule tail needs it"),
        ("--rule fraction", "--ratio: the rule fraction needs it"),
        ("--rule tail --epsilon 0.1 --q 0.5", "--q: the rule tail has no such option; it has --epsilon, --p"),
        ("--rule tail --epsilon 0.1 --p 1.5", "--p: 1.5 is not a whole number"),
        ("--q 0.5", "--q: says something about a rule, but no --rule is given"),
        ("--scope layer", "--scope: says something about a rule"),
        ("--nonfinite passthrough", "'passthrough' is not one of refuse, pass-through; did you mean pass-through?"),
        ("--rule sparsty_index", "lasso; did you mean sparsity-index?"),
        ("--rule N_of_M", "did you mean n-of-m?"),
        ("--rule Tail --epsilon 0.1", "did you mean tail?"),
        ("--rule tail --epsilon 0.1 --scope LAYER", "did you mean layer?"),
        ("--rule error-budget --max-error 1 --grade Mean_square", "did you mean mean-square?"),
        ("--override a=lq_bond:epsilon=0.1", "GLOB=RULE:option=value,...; did you mean lq-bound?"),
        ("--override a=Skip", "did you mean skip?"),
        ("--rule n-of-m --scope rows", "'rows' is not one of neuron, layer, global"),
        ("--override a", "'a' is not GLOB=skip"),
        ("--override a=axis:x", "'x' is not the number of an axis"),
        ("--override a=tail:epsilon", "'epsilon' is not option=value"),
        ("--override a=tail:epsilon=x", "epsilon is 'x', which is no number"),
        ("--override a=tail:n=1,epsilon=0.1", "no such option"),
        ("--nonfinite drop", "'drop' is not one of refuse"),
        ("--server nowhere", "neither host:port"),
        ("--timeout 0", "--timeout"),
        ("--index-q 0", "0 is out of range"),
        ("--rule error-budget", "--max-error: the rule error-budget needs it or --ratio, one of the two"),
        ("--rule error-budget --max-error 1 --ratio 0.5", "one of the two"),
        ("--rule error-budget --max-error 1 --grade ball", "'ball' is not one of mean-square, box"),
        ("--rule lasso", "--epsilon: the rule lasso needs it"),
        ("--measured", "--measured: says something about a rule"),
        ("--max-error 1", "--max-error: says something about a rule"),
        ("--box 0 1", "--box: says something about a network, but no --network is given"),
        ("--l2-radius 3", "--l2-radius: says something about a network"),
    ],
)
def test_a_wrong_command_line_is_refused_by_the_word_and_nothing_is_sent(ellq, fake, checkpoint, words, message):
    code, out, err = ellq("analyze", checkpoint, *words.split())
    assert code == exits.USAGE
    assert message in err
    assert out == ""
    assert fake.requests == []


@pytest.mark.parametrize(
    ("field", "option"),
    [
        ("options.rule.tail.epsilon", "--epsilon"),
        ("options.rule.fraction.pruned_ratio", "--ratio"),
        ("options.rule.scope", "--scope"),
        ("options.rule", "--rule"),
        ("options.indices.pq_p", "--index-pq"),
        ("options.selection.exclude", "--exclude"),
        ("options.selection.overrides[1].rule.tail.epsilon", "--override number 2, epsilon"),
        ("options.selection.overrides[0].neuron_axis", "--override number 1, neuron_axis"),
    ],
)
def test_what_the_server_refuses_is_said_in_options(ellq, fake, refusal, checkpoint, field, option):
    fake.refusals = [refusal(grpc.StatusCode.INVALID_ARGUMENT, f"{field} is wrong", "INVALID_RULE", field)]
    code, _, err = ellq("analyze", checkpoint)
    assert (code, err) == (exits.USAGE, f"ellq: {option} is wrong\n")


def test_the_environment_sets_the_timeout(ellq, fake, checkpoint, monkeypatch):
    answer = fake._answer

    def slow(*arguments):
        time.sleep(1)
        yield from answer(*arguments)

    monkeypatch.setattr(fake, "_answer", slow)
    monkeypatch.setenv("ELLQ_TIMEOUT", "0.3")
    code, _, err = ellq("analyze", checkpoint)
    assert (code, err) == (exits.DEADLINE, "ellq: not done within 0.3 seconds (--timeout)\n")


def test_compress_needs_a_rule_and_a_place(ellq, checkpoint, tmp_path):
    code, _, err = ellq("compress", checkpoint, "-o", tmp_path / "o.safetensors")
    assert (code, "--rule: needed; one of sparsity-index" in err) == (exits.USAGE, True)
    assert ellq("compress", checkpoint, "--rule", "n-of-m")[0] == exits.USAGE


@pytest.mark.parametrize("command", [[], ["analyze"], ["compress"], ["verify"], ["network"], ["shrink"], ["capabilities"]])
def test_help_loads_nothing_that_it_does_not_need(command):
    code = (
        "import sys\n"
        f"sys.argv = ['ellq', *{command!r}, '--help']\n"
        "from ellq_client.cli import main\n"
        "try: main()\n"
        "except SystemExit as done: assert done.code == 0\n"
        "heavy = {'numpy', 'grpc', 'torch', 'google.protobuf', 'rich', 'ellq_server', 'ellq_math'} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_server_explains_its_own_settings():
    shown = subprocess.run([*COMMAND, "serve", "--help"], check=True, capture_output=True, text=True)
    assert "--listen" in shown.stdout


def test_version(ellq):
    code, out, _ = ellq("--version")
    assert (code, out.split()[0]) == (0, "ellq")
