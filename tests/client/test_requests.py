import pytest

from ellq.v1 import compression_pb2 as pb
from ellq_client import (
    ErrorBudget,
    Fraction,
    InvalidRequest,
    InvalidRule,
    InvalidSelection,
    Lasso,
    LqBound,
    NOfM,
    Override,
    PqIndex,
    ProtocolError,
    SparsityIndex,
    Tail,
)
from ellq_client.channels import ServerAddress, server_address
from ellq_client.enclosures import moments_digest, network_digest
from ellq_client.requests import AnalyzeOptions, CompressOptions, Request, read_options
from ellq_client.rules import RULES, rule_from_proto, rule_to_proto

MESSAGES = [
    (SparsityIndex(q=0.5), pb.Rule(scope=1, sparsity_index=pb.SparsityIndexRule(q=0.5))),
    (
        PqIndex(p=0.5, q=1, eta=0.1, scope="global"),
        pb.Rule(scope=3, pq_index=pb.PqIndexRule(p=0.5, q=1, eta=0.1, gamma=1, beta=0.9)),
    ),
    (Tail(epsilon=0.1, p=1, scope="layer"), pb.Rule(scope=2, tail=pb.TailRule(epsilon=0.1, p=1))),
    (LqBound(epsilon=0.1, q=0.5, p=2), pb.Rule(scope=1, lq_bound=pb.LqBoundRule(epsilon=0.1, q=0.5, p=2))),
    (Fraction(pruned_ratio=0.25), pb.Rule(scope=1, fraction=pb.FractionRule(pruned_ratio=0.25))),
    (
        ErrorBudget(max_error=0.5, measured=True),
        pb.Rule(scope=3, error_budget=pb.ErrorBudgetRule(max_error=0.5, grade=pb.GRADE_MEAN_SQUARE, measured=True)),
    ),
    (
        ErrorBudget(pruned_ratio=0.25, grade="box"),
        pb.Rule(scope=3, error_budget=pb.ErrorBudgetRule(pruned_ratio=0.25, grade=pb.GRADE_BOX)),
    ),
    (Lasso(epsilon=0.1), pb.Rule(scope=1, lasso=pb.LassoRule(epsilon=0.1))),
    (NOfM(n=2, m=4), pb.Rule(scope=1, n_of_m=pb.NOfMRule(n=2, m=4))),
]


@pytest.mark.parametrize(("rule", "message"), MESSAGES)
def test_rules_travel_there_and_back(rule, message):
    assert rule_to_proto(rule) == message
    assert rule_from_proto(message) == rule


def test_every_rule_of_the_contract_is_here():
    assert set(RULES) == {field.name for field in pb.Rule.DESCRIPTOR.oneofs_by_name["kind"].fields}
    assert {rule.kind for rule, _ in MESSAGES} == set(RULES)


def test_a_rule_of_a_newer_contract_is_no_rule_of_ours():
    with pytest.raises(ProtocolError):
        rule_from_proto(pb.Rule(scope=1))


@pytest.mark.parametrize(
    "rule", [Tail(epsilon=0.1, p=-1), Tail(epsilon=0.1, p=1.5), NOfM(n=2, m=2**40), Fraction(pruned_ratio="x")]
)
def test_numbers_that_no_message_can_hold_are_refused_by_name(rule):
    with pytest.raises(InvalidRule, match=rf"^rule\.{rule.kind}\.\w+: .* does not fit"):
        rule_to_proto(rule)


@pytest.mark.parametrize("given", [{}, {"max_error": 0.5, "pruned_ratio": 0.5}])
def test_a_budget_has_one_target(given):
    with pytest.raises(InvalidRule, match="takes either max_error or pruned_ratio"):
        rule_to_proto(ErrorBudget(**given))


@pytest.mark.parametrize(("grade", "message"), [("median", "'median' is not one of box, ball, mean_square")])
def test_grades_are_words(grade, message):
    with pytest.raises(InvalidRequest, match=message):
        rule_to_proto(ErrorBudget(max_error=1, grade=grade))


@pytest.mark.parametrize(
    ("request_", "can"),
    [
        (Request(rule=Fraction(pruned_ratio=0.5, scope="global")), True),
        (Request(rule=Fraction(pruned_ratio=0.5)), False),
        (Request(rule=ErrorBudget(max_error=1)), True),
        (Request(rule=ErrorBudget(max_error=1, measured=True)), False),
        (Request(rule=ErrorBudget(pruned_ratio=0.5, measured=True)), True),
        (Request(rule=ErrorBudget(max_error=1, grade="box")), False),
        (Request(rule=ErrorBudget(max_error=1), remove_dead_neurons=True), False),
        (Request(rule=Fraction(pruned_ratio=0.5, scope="global"), remove_dead_neurons=True), False),
        (Request(), False),
    ],
)
def test_sketches_help_only_where_nothing_needs_the_whole_network(request_, can):
    assert request_.can_sketch is can


NETWORK = pb.Network(topology=pb.Topology(nodes=[pb.Node(name="x", input=pb.InputNode(shape=[4]))]))
FRAMES = [
    pb.Moments(tensor="b", second_moments=[1, 2], matrix=b"1234"),
    pb.Moments(tensor="b", matrix=b"5678"),
    pb.Moments(tensor="a", second_moments=[3]),
]


def test_what_goes_along_is_remembered_by_its_digest():
    request, enclosures = read_options(rule=Fraction(pruned_ratio=0.5), network=NETWORK, moments=iter(FRAMES))
    assert request.network_sha256 == network_digest(NETWORK)
    assert request.moments_sha256 == moments_digest(FRAMES)
    assert list(enclosures.moments()) == list(enclosures.moments()) == FRAMES, "a repeated call sends them again"
    assert request.compress_options(network=enclosures.network).network == NETWORK
    alone, nothing = read_options()
    assert (alone.network_sha256, alone.moments_sha256, list(nothing.moments())) == (None, None, [])


def test_networks_and_calibrations_turn_themselves_into_messages():
    class Described:
        def to_proto(self):
            return NETWORK

        def to_frames(self):
            yield from FRAMES

    _, enclosures = read_options(network=Described(), moments=Described())
    assert enclosures.network == NETWORK
    assert list(enclosures.moments()) == list(enclosures.moments()) == FRAMES


def test_moments_are_the_same_however_they_are_cut_and_ordered():
    assert moments_digest([FRAMES[2], pb.Moments(tensor="b", second_moments=[1, 2], matrix=b"12345678")]) == moments_digest(
        FRAMES
    )
    others = [
        [FRAMES[0], FRAMES[2]],
        [FRAMES[0], FRAMES[1], pb.Moments(tensor="c", second_moments=[3])],
        [FRAMES[0], FRAMES[1], pb.Moments(tensor="a", second_moments=[3.5])],
        [FRAMES[1], FRAMES[0], FRAMES[2]],
    ]
    assert len({moments_digest(frames) for frames in [FRAMES, *others]}) == 5


def test_words_are_checked_here_because_enums_cannot_carry_them():
    with pytest.raises(InvalidRequest, match="'rows' is not one of neuron, layer, global"):
        rule_to_proto(Fraction(pruned_ratio=0.5, scope="rows"))
    with pytest.raises(InvalidRequest, match="'drop' is not one of refuse, pass_through"):
        Request(nonfinite="drop").analyze_options()


@pytest.mark.parametrize(("options", "field"), [({"q": 0.0}, "q"), ({"pq": (0.0, 1.0)}, "pq_p"), ({"pq": (0.5, 0.0)}, "pq_q")])
def test_zero_means_absent_on_the_wire_so_it_is_refused_here(options, field):
    with pytest.raises(InvalidRule, match=f"indices.{field}: 0 is out of range"):
        Request(**options)


def test_a_glob_alone_is_not_a_list_of_letters():
    with pytest.raises(InvalidSelection, match="include takes a list"):
        Request(include="*.weight")


def test_an_override_cannot_contradict_itself():
    with pytest.raises(InvalidSelection, match="both skip and have a rule"):
        Override("w", skip=True, rule=Fraction(pruned_ratio=0.5)).to_proto()
    with pytest.raises(InvalidSelection, match="does not fit"):
        Override("w", neuron_axis=(-1,)).to_proto()


def test_keywords_of_the_clients_are_those_of_a_request():
    digests = {"network_sha256": "network", "moments_sha256": "moments"}
    fields = {digests.get(name, name) for name in Request.__dataclass_fields__}
    assert set(AnalyzeOptions.__annotations__) | set(CompressOptions.__annotations__) == fields
    assert set(CompressOptions.__annotations__) == fields - {"distribution"}


def test_absent_options_are_absent_on_the_wire():
    assert Request().analyze_options() == pb.AnalyzeOptions(
        selection=pb.Selection(), indices=pb.IndexOptions(), nonfinite=pb.NONFINITE_POLICY_REFUSE
    )


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("localhost:50051", "dns:///localhost:50051"),
        ("10.0.0.1:80", "dns:///10.0.0.1:80"),
        ("[::1]:50051", "dns:///[::1]:50051"),
        ("dns:///ellq:50051", "dns:///ellq:50051"),
        ("unix:/run/ellq.sock", "unix:/run/ellq.sock"),
        ("ipv4:10.0.0.1:80", "ipv4:10.0.0.1:80"),
    ],
)
def test_addresses(given, address):
    assert server_address(given) == ServerAddress(address, "target")


@pytest.mark.parametrize("given", ["ellq", "http://ellq:50051", "ellq:port", ":50051", "a b:1"])
def test_what_is_no_address_is_quoted(given):
    with pytest.raises(ValueError, match="neither host:port nor"):
        server_address(given)


def test_the_environment_names_the_server_when_nobody_else_does(monkeypatch):
    monkeypatch.setenv("ELLQ_SERVER", "ellq:50051")
    assert server_address(None) == ServerAddress("dns:///ellq:50051", "ELLQ_SERVER")
    assert server_address("other:1") == ServerAddress("dns:///other:1", "target")
    monkeypatch.setenv("ELLQ_SERVER", "")
    assert server_address(None).uri is None


def test_what_is_no_rule_is_named():
    with pytest.raises(InvalidRule, match="'tail' is no rule; rules are SparsityIndex"):
        Request(rule="tail").analyze_options()
