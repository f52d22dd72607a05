from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Scope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCOPE_UNSPECIFIED: _ClassVar[Scope]
    SCOPE_NEURON: _ClassVar[Scope]
    SCOPE_LAYER: _ClassVar[Scope]
    SCOPE_GLOBAL: _ClassVar[Scope]

class NonfinitePolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NONFINITE_POLICY_UNSPECIFIED: _ClassVar[NonfinitePolicy]
    NONFINITE_POLICY_REFUSE: _ClassVar[NonfinitePolicy]
    NONFINITE_POLICY_PASS_THROUGH: _ClassVar[NonfinitePolicy]

class Encoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENCODING_UNSPECIFIED: _ClassVar[Encoding]
    ENCODING_DENSE: _ClassVar[Encoding]

class Treatment(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TREATMENT_UNSPECIFIED: _ClassVar[Treatment]
    TREATMENT_COMPRESS: _ClassVar[Treatment]
    TREATMENT_PASS_THROUGH: _ClassVar[Treatment]

class PassThroughReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PASS_THROUGH_REASON_UNSPECIFIED: _ClassVar[PassThroughReason]
    PASS_THROUGH_REASON_DTYPE: _ClassVar[PassThroughReason]
    PASS_THROUGH_REASON_DIMENSIONS: _ClassVar[PassThroughReason]
    PASS_THROUGH_REASON_EMPTY: _ClassVar[PassThroughReason]
    PASS_THROUGH_REASON_NAME: _ClassVar[PassThroughReason]
    PASS_THROUGH_REASON_EXCLUDED: _ClassVar[PassThroughReason]
    PASS_THROUGH_REASON_SKIPPED: _ClassVar[PassThroughReason]
    PASS_THROUGH_REASON_NONFINITE: _ClassVar[PassThroughReason]

class NetworkCertificateAbsence(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NETWORK_CERTIFICATE_ABSENCE_UNSPECIFIED: _ClassVar[NetworkCertificateAbsence]
    NETWORK_CERTIFICATE_ABSENCE_NO_TOPOLOGY: _ClassVar[NetworkCertificateAbsence]

class WarningCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WARNING_CODE_UNSPECIFIED: _ClassVar[WarningCode]
    WARNING_CODE_GLOB_WITHOUT_MATCH: _ClassVar[WarningCode]
    WARNING_CODE_NONFINITE_PASSED_THROUGH: _ClassVar[WarningCode]
    WARNING_CODE_NOTHING_COMPRESSIBLE: _ClassVar[WarningCode]

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_EMPTY_FRAME: _ClassVar[ErrorReason]
    ERROR_REASON_MISSING_OPTIONS: _ClassVar[ErrorReason]
    ERROR_REASON_REPEATED_OPTIONS: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_RULE: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_SCOPE: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_Q: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_P: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_ETA: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_GAMMA: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_BETA: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_EPSILON: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_RATIO: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_GROUP: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_GLOB: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_OVERRIDE: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_NEURON_AXIS: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_ENUM: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_SKETCH: _ClassVar[ErrorReason]
    ERROR_REASON_SKETCH_REQUIRED: _ClassVar[ErrorReason]
    ERROR_REASON_MALFORMED_WEIGHTS: _ClassVar[ErrorReason]
    ERROR_REASON_TRUNCATED_STREAM: _ClassVar[ErrorReason]
    ERROR_REASON_TRAILING_BYTES: _ClassVar[ErrorReason]
    ERROR_REASON_NONFINITE_WEIGHT: _ClassVar[ErrorReason]
    ERROR_REASON_HEADER_TOO_LARGE: _ClassVar[ErrorReason]
    ERROR_REASON_TOO_MANY_TENSORS: _ClassVar[ErrorReason]
    ERROR_REASON_TENSOR_TOO_LARGE: _ClassVar[ErrorReason]
    ERROR_REASON_PAYLOAD_TOO_LARGE: _ClassVar[ErrorReason]
    ERROR_REASON_BUSY: _ClassVar[ErrorReason]
    ERROR_REASON_DRAINING: _ClassVar[ErrorReason]
    ERROR_REASON_CERTIFICATE_REFUTED: _ClassVar[ErrorReason]
    ERROR_REASON_DEFECT: _ClassVar[ErrorReason]
SCOPE_UNSPECIFIED: Scope
SCOPE_NEURON: Scope
SCOPE_LAYER: Scope
SCOPE_GLOBAL: Scope
NONFINITE_POLICY_UNSPECIFIED: NonfinitePolicy
NONFINITE_POLICY_REFUSE: NonfinitePolicy
NONFINITE_POLICY_PASS_THROUGH: NonfinitePolicy
ENCODING_UNSPECIFIED: Encoding
ENCODING_DENSE: Encoding
TREATMENT_UNSPECIFIED: Treatment
TREATMENT_COMPRESS: Treatment
TREATMENT_PASS_THROUGH: Treatment
PASS_THROUGH_REASON_UNSPECIFIED: PassThroughReason
PASS_THROUGH_REASON_DTYPE: PassThroughReason
PASS_THROUGH_REASON_DIMENSIONS: PassThroughReason
PASS_THROUGH_REASON_EMPTY: PassThroughReason
PASS_THROUGH_REASON_NAME: PassThroughReason
PASS_THROUGH_REASON_EXCLUDED: PassThroughReason
PASS_THROUGH_REASON_SKIPPED: PassThroughReason
PASS_THROUGH_REASON_NONFINITE: PassThroughReason
NETWORK_CERTIFICATE_ABSENCE_UNSPECIFIED: NetworkCertificateAbsence
NETWORK_CERTIFICATE_ABSENCE_NO_TOPOLOGY: NetworkCertificateAbsence
WARNING_CODE_UNSPECIFIED: WarningCode
WARNING_CODE_GLOB_WITHOUT_MATCH: WarningCode
WARNING_CODE_NONFINITE_PASSED_THROUGH: WarningCode
WARNING_CODE_NOTHING_COMPRESSIBLE: WarningCode
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_EMPTY_FRAME: ErrorReason
ERROR_REASON_MISSING_OPTIONS: ErrorReason
ERROR_REASON_REPEATED_OPTIONS: ErrorReason
ERROR_REASON_INVALID_RULE: ErrorReason
ERROR_REASON_INVALID_SCOPE: ErrorReason
ERROR_REASON_INVALID_Q: ErrorReason
ERROR_REASON_INVALID_P: ErrorReason
ERROR_REASON_INVALID_ETA: ErrorReason
ERROR_REASON_INVALID_GAMMA: ErrorReason
ERROR_REASON_INVALID_BETA: ErrorReason
ERROR_REASON_INVALID_EPSILON: ErrorReason
ERROR_REASON_INVALID_RATIO: ErrorReason
ERROR_REASON_INVALID_GROUP: ErrorReason
ERROR_REASON_INVALID_GLOB: ErrorReason
ERROR_REASON_INVALID_OVERRIDE: ErrorReason
ERROR_REASON_INVALID_NEURON_AXIS: ErrorReason
ERROR_REASON_INVALID_ENUM: ErrorReason
ERROR_REASON_INVALID_SKETCH: ErrorReason
ERROR_REASON_SKETCH_REQUIRED: ErrorReason
ERROR_REASON_MALFORMED_WEIGHTS: ErrorReason
ERROR_REASON_TRUNCATED_STREAM: ErrorReason
ERROR_REASON_TRAILING_BYTES: ErrorReason
ERROR_REASON_NONFINITE_WEIGHT: ErrorReason
ERROR_REASON_HEADER_TOO_LARGE: ErrorReason
ERROR_REASON_TOO_MANY_TENSORS: ErrorReason
ERROR_REASON_TENSOR_TOO_LARGE: ErrorReason
ERROR_REASON_PAYLOAD_TOO_LARGE: ErrorReason
ERROR_REASON_BUSY: ErrorReason
ERROR_REASON_DRAINING: ErrorReason
ERROR_REASON_CERTIFICATE_REFUTED: ErrorReason
ERROR_REASON_DEFECT: ErrorReason

class AnalyzeRequest(_message.Message):
    __slots__ = ("options", "data")
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    options: AnalyzeOptions
    data: bytes
    def __init__(self, options: _Optional[_Union[AnalyzeOptions, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class AnalyzeOptions(_message.Message):
    __slots__ = ("selection", "indices", "rule", "nonfinite", "ignore_zeros", "neuron_reports", "distribution", "sketch")
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    NONFINITE_FIELD_NUMBER: _ClassVar[int]
    IGNORE_ZEROS_FIELD_NUMBER: _ClassVar[int]
    NEURON_REPORTS_FIELD_NUMBER: _ClassVar[int]
    DISTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    SKETCH_FIELD_NUMBER: _ClassVar[int]
    selection: Selection
    indices: IndexOptions
    rule: Rule
    nonfinite: NonfinitePolicy
    ignore_zeros: bool
    neuron_reports: bool
    distribution: bool
    sketch: SketchOptions
    def __init__(self, selection: _Optional[_Union[Selection, _Mapping]] = ..., indices: _Optional[_Union[IndexOptions, _Mapping]] = ..., rule: _Optional[_Union[Rule, _Mapping]] = ..., nonfinite: _Optional[_Union[NonfinitePolicy, str]] = ..., ignore_zeros: bool = ..., neuron_reports: bool = ..., distribution: bool = ..., sketch: _Optional[_Union[SketchOptions, _Mapping]] = ...) -> None: ...

class CompressRequest(_message.Message):
    __slots__ = ("options", "data")
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    options: CompressOptions
    data: bytes
    def __init__(self, options: _Optional[_Union[CompressOptions, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class CompressOptions(_message.Message):
    __slots__ = ("selection", "indices", "rule", "nonfinite", "ignore_zeros", "neuron_reports", "encoding", "sketch")
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    NONFINITE_FIELD_NUMBER: _ClassVar[int]
    IGNORE_ZEROS_FIELD_NUMBER: _ClassVar[int]
    NEURON_REPORTS_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    SKETCH_FIELD_NUMBER: _ClassVar[int]
    selection: Selection
    indices: IndexOptions
    rule: Rule
    nonfinite: NonfinitePolicy
    ignore_zeros: bool
    neuron_reports: bool
    encoding: Encoding
    sketch: Sketch
    def __init__(self, selection: _Optional[_Union[Selection, _Mapping]] = ..., indices: _Optional[_Union[IndexOptions, _Mapping]] = ..., rule: _Optional[_Union[Rule, _Mapping]] = ..., nonfinite: _Optional[_Union[NonfinitePolicy, str]] = ..., ignore_zeros: bool = ..., neuron_reports: bool = ..., encoding: _Optional[_Union[Encoding, str]] = ..., sketch: _Optional[_Union[Sketch, _Mapping]] = ...) -> None: ...

class Selection(_message.Message):
    __slots__ = ("include", "exclude", "overrides")
    INCLUDE_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_FIELD_NUMBER: _ClassVar[int]
    OVERRIDES_FIELD_NUMBER: _ClassVar[int]
    include: _containers.RepeatedScalarFieldContainer[str]
    exclude: _containers.RepeatedScalarFieldContainer[str]
    overrides: _containers.RepeatedCompositeFieldContainer[TensorOverride]
    def __init__(self, include: _Optional[_Iterable[str]] = ..., exclude: _Optional[_Iterable[str]] = ..., overrides: _Optional[_Iterable[_Union[TensorOverride, _Mapping]]] = ...) -> None: ...

class TensorOverride(_message.Message):
    __slots__ = ("glob", "skip", "rule", "neuron_axis")
    GLOB_FIELD_NUMBER: _ClassVar[int]
    SKIP_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    NEURON_AXIS_FIELD_NUMBER: _ClassVar[int]
    glob: str
    skip: bool
    rule: Rule
    neuron_axis: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, glob: _Optional[str] = ..., skip: bool = ..., rule: _Optional[_Union[Rule, _Mapping]] = ..., neuron_axis: _Optional[_Iterable[int]] = ...) -> None: ...

class IndexOptions(_message.Message):
    __slots__ = ("q", "pq_p", "pq_q")
    Q_FIELD_NUMBER: _ClassVar[int]
    PQ_P_FIELD_NUMBER: _ClassVar[int]
    PQ_Q_FIELD_NUMBER: _ClassVar[int]
    q: float
    pq_p: float
    pq_q: float
    def __init__(self, q: _Optional[float] = ..., pq_p: _Optional[float] = ..., pq_q: _Optional[float] = ...) -> None: ...

class Rule(_message.Message):
    __slots__ = ("scope", "sparsity_index", "pq_index", "tail", "lq_bound", "fraction", "n_of_m")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    SPARSITY_INDEX_FIELD_NUMBER: _ClassVar[int]
    PQ_INDEX_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    LQ_BOUND_FIELD_NUMBER: _ClassVar[int]
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    N_OF_M_FIELD_NUMBER: _ClassVar[int]
    scope: Scope
    sparsity_index: SparsityIndexRule
    pq_index: PqIndexRule
    tail: TailRule
    lq_bound: LqBoundRule
    fraction: FractionRule
    n_of_m: NOfMRule
    def __init__(self, scope: _Optional[_Union[Scope, str]] = ..., sparsity_index: _Optional[_Union[SparsityIndexRule, _Mapping]] = ..., pq_index: _Optional[_Union[PqIndexRule, _Mapping]] = ..., tail: _Optional[_Union[TailRule, _Mapping]] = ..., lq_bound: _Optional[_Union[LqBoundRule, _Mapping]] = ..., fraction: _Optional[_Union[FractionRule, _Mapping]] = ..., n_of_m: _Optional[_Union[NOfMRule, _Mapping]] = ...) -> None: ...

class SparsityIndexRule(_message.Message):
    __slots__ = ("q", "eta")
    Q_FIELD_NUMBER: _ClassVar[int]
    ETA_FIELD_NUMBER: _ClassVar[int]
    q: float
    eta: float
    def __init__(self, q: _Optional[float] = ..., eta: _Optional[float] = ...) -> None: ...

class PqIndexRule(_message.Message):
    __slots__ = ("p", "q", "eta", "gamma", "beta")
    P_FIELD_NUMBER: _ClassVar[int]
    Q_FIELD_NUMBER: _ClassVar[int]
    ETA_FIELD_NUMBER: _ClassVar[int]
    GAMMA_FIELD_NUMBER: _ClassVar[int]
    BETA_FIELD_NUMBER: _ClassVar[int]
    p: float
    q: float
    eta: float
    gamma: float
    beta: float
    def __init__(self, p: _Optional[float] = ..., q: _Optional[float] = ..., eta: _Optional[float] = ..., gamma: _Optional[float] = ..., beta: _Optional[float] = ...) -> None: ...

class TailRule(_message.Message):
    __slots__ = ("epsilon", "p")
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    P_FIELD_NUMBER: _ClassVar[int]
    epsilon: float
    p: int
    def __init__(self, epsilon: _Optional[float] = ..., p: _Optional[int] = ...) -> None: ...

class LqBoundRule(_message.Message):
    __slots__ = ("epsilon", "q", "p")
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    Q_FIELD_NUMBER: _ClassVar[int]
    P_FIELD_NUMBER: _ClassVar[int]
    epsilon: float
    q: float
    p: int
    def __init__(self, epsilon: _Optional[float] = ..., q: _Optional[float] = ..., p: _Optional[int] = ...) -> None: ...

class FractionRule(_message.Message):
    __slots__ = ("pruned_ratio",)
    PRUNED_RATIO_FIELD_NUMBER: _ClassVar[int]
    pruned_ratio: float
    def __init__(self, pruned_ratio: _Optional[float] = ...) -> None: ...

class NOfMRule(_message.Message):
    __slots__ = ("n", "m")
    N_FIELD_NUMBER: _ClassVar[int]
    M_FIELD_NUMBER: _ClassVar[int]
    n: int
    m: int
    def __init__(self, n: _Optional[int] = ..., m: _Optional[int] = ...) -> None: ...

class AnalyzeResponse(_message.Message):
    __slots__ = ("manifest", "plans", "reports", "neurons", "summary")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    PLANS_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    NEURONS_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    manifest: Manifest
    plans: TensorPlans
    reports: TensorReports
    neurons: NeuronReports
    summary: Summary
    def __init__(self, manifest: _Optional[_Union[Manifest, _Mapping]] = ..., plans: _Optional[_Union[TensorPlans, _Mapping]] = ..., reports: _Optional[_Union[TensorReports, _Mapping]] = ..., neurons: _Optional[_Union[NeuronReports, _Mapping]] = ..., summary: _Optional[_Union[Summary, _Mapping]] = ...) -> None: ...

class CompressResponse(_message.Message):
    __slots__ = ("manifest", "plans", "reports", "neurons", "summary", "data")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    PLANS_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    NEURONS_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    manifest: Manifest
    plans: TensorPlans
    reports: TensorReports
    neurons: NeuronReports
    summary: Summary
    data: bytes
    def __init__(self, manifest: _Optional[_Union[Manifest, _Mapping]] = ..., plans: _Optional[_Union[TensorPlans, _Mapping]] = ..., reports: _Optional[_Union[TensorReports, _Mapping]] = ..., neurons: _Optional[_Union[NeuronReports, _Mapping]] = ..., summary: _Optional[_Union[Summary, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class Manifest(_message.Message):
    __slots__ = ("request_id", "version", "header_bytes", "payload_bytes", "tensors", "compressible_tensors", "compressible_weights", "indices", "rule")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    HEADER_BYTES_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    COMPRESSIBLE_TENSORS_FIELD_NUMBER: _ClassVar[int]
    COMPRESSIBLE_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    version: str
    header_bytes: int
    payload_bytes: int
    tensors: int
    compressible_tensors: int
    compressible_weights: int
    indices: IndexOptions
    rule: Rule
    def __init__(self, request_id: _Optional[str] = ..., version: _Optional[str] = ..., header_bytes: _Optional[int] = ..., payload_bytes: _Optional[int] = ..., tensors: _Optional[int] = ..., compressible_tensors: _Optional[int] = ..., compressible_weights: _Optional[int] = ..., indices: _Optional[_Union[IndexOptions, _Mapping]] = ..., rule: _Optional[_Union[Rule, _Mapping]] = ...) -> None: ...

class TensorPlans(_message.Message):
    __slots__ = ("plans",)
    PLANS_FIELD_NUMBER: _ClassVar[int]
    plans: _containers.RepeatedCompositeFieldContainer[TensorPlan]
    def __init__(self, plans: _Optional[_Iterable[_Union[TensorPlan, _Mapping]]] = ...) -> None: ...

class TensorPlan(_message.Message):
    __slots__ = ("tensor", "name", "dtype", "shape", "treatment", "reason", "neurons", "fan_in", "neuron_axis", "rule")
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    TREATMENT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    NEURONS_FIELD_NUMBER: _ClassVar[int]
    FAN_IN_FIELD_NUMBER: _ClassVar[int]
    NEURON_AXIS_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    tensor: int
    name: str
    dtype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    treatment: Treatment
    reason: PassThroughReason
    neurons: int
    fan_in: int
    neuron_axis: _containers.RepeatedScalarFieldContainer[int]
    rule: Rule
    def __init__(self, tensor: _Optional[int] = ..., name: _Optional[str] = ..., dtype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., treatment: _Optional[_Union[Treatment, str]] = ..., reason: _Optional[_Union[PassThroughReason, str]] = ..., neurons: _Optional[int] = ..., fan_in: _Optional[int] = ..., neuron_axis: _Optional[_Iterable[int]] = ..., rule: _Optional[_Union[Rule, _Mapping]] = ...) -> None: ...

class TensorReports(_message.Message):
    __slots__ = ("reports",)
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    reports: _containers.RepeatedCompositeFieldContainer[TensorReport]
    def __init__(self, reports: _Optional[_Iterable[_Union[TensorReport, _Mapping]]] = ...) -> None: ...

class TensorReport(_message.Message):
    __slots__ = ("tensor", "name", "treatment", "reason", "measurement", "distribution", "allocation", "bound", "certificate", "payload")
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TREATMENT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MEASUREMENT_FIELD_NUMBER: _ClassVar[int]
    DISTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    ALLOCATION_FIELD_NUMBER: _ClassVar[int]
    BOUND_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    tensor: int
    name: str
    treatment: Treatment
    reason: PassThroughReason
    measurement: Measurement
    distribution: Distribution
    allocation: Allocation
    bound: Bound
    certificate: Certificate
    payload: Payload
    def __init__(self, tensor: _Optional[int] = ..., name: _Optional[str] = ..., treatment: _Optional[_Union[Treatment, str]] = ..., reason: _Optional[_Union[PassThroughReason, str]] = ..., measurement: _Optional[_Union[Measurement, _Mapping]] = ..., distribution: _Optional[_Union[Distribution, _Mapping]] = ..., allocation: _Optional[_Union[Allocation, _Mapping]] = ..., bound: _Optional[_Union[Bound, _Mapping]] = ..., certificate: _Optional[_Union[Certificate, _Mapping]] = ..., payload: _Optional[_Union[Payload, _Mapping]] = ...) -> None: ...

class Measurement(_message.Message):
    __slots__ = ("neurons", "fan_in", "weights", "zeros", "layer", "neuron_sparsity_index", "neuron_pq_index", "max_magnitude", "l1", "l2", "hoyer")
    NEURONS_FIELD_NUMBER: _ClassVar[int]
    FAN_IN_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    ZEROS_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    NEURON_SPARSITY_INDEX_FIELD_NUMBER: _ClassVar[int]
    NEURON_PQ_INDEX_FIELD_NUMBER: _ClassVar[int]
    MAX_MAGNITUDE_FIELD_NUMBER: _ClassVar[int]
    L1_FIELD_NUMBER: _ClassVar[int]
    L2_FIELD_NUMBER: _ClassVar[int]
    HOYER_FIELD_NUMBER: _ClassVar[int]
    neurons: int
    fan_in: int
    weights: int
    zeros: int
    layer: Indices
    neuron_sparsity_index: Spread
    neuron_pq_index: Spread
    max_magnitude: float
    l1: float
    l2: float
    hoyer: float
    def __init__(self, neurons: _Optional[int] = ..., fan_in: _Optional[int] = ..., weights: _Optional[int] = ..., zeros: _Optional[int] = ..., layer: _Optional[_Union[Indices, _Mapping]] = ..., neuron_sparsity_index: _Optional[_Union[Spread, _Mapping]] = ..., neuron_pq_index: _Optional[_Union[Spread, _Mapping]] = ..., max_magnitude: _Optional[float] = ..., l1: _Optional[float] = ..., l2: _Optional[float] = ..., hoyer: _Optional[float] = ...) -> None: ...

class Indices(_message.Message):
    __slots__ = ("sparsity_index", "pq_index")
    SPARSITY_INDEX_FIELD_NUMBER: _ClassVar[int]
    PQ_INDEX_FIELD_NUMBER: _ClassVar[int]
    sparsity_index: float
    pq_index: float
    def __init__(self, sparsity_index: _Optional[float] = ..., pq_index: _Optional[float] = ...) -> None: ...

class Spread(_message.Message):
    __slots__ = ("min", "mean", "max")
    MIN_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    min: float
    mean: float
    max: float
    def __init__(self, min: _Optional[float] = ..., mean: _Optional[float] = ..., max: _Optional[float] = ...) -> None: ...

class Distribution(_message.Message):
    __slots__ = ("gini", "excess_kurtosis", "tail_index", "tail_curve", "spectral_norm_bound", "stable_rank_floor")
    GINI_FIELD_NUMBER: _ClassVar[int]
    EXCESS_KURTOSIS_FIELD_NUMBER: _ClassVar[int]
    TAIL_INDEX_FIELD_NUMBER: _ClassVar[int]
    TAIL_CURVE_FIELD_NUMBER: _ClassVar[int]
    SPECTRAL_NORM_BOUND_FIELD_NUMBER: _ClassVar[int]
    STABLE_RANK_FLOOR_FIELD_NUMBER: _ClassVar[int]
    gini: float
    excess_kurtosis: float
    tail_index: float
    tail_curve: _containers.RepeatedScalarFieldContainer[float]
    spectral_norm_bound: float
    stable_rank_floor: float
    def __init__(self, gini: _Optional[float] = ..., excess_kurtosis: _Optional[float] = ..., tail_index: _Optional[float] = ..., tail_curve: _Optional[_Iterable[float]] = ..., spectral_norm_bound: _Optional[float] = ..., stable_rank_floor: _Optional[float] = ...) -> None: ...

class Allocation(_message.Message):
    __slots__ = ("kept", "zeros", "kept_floor", "kept_within")
    KEPT_FIELD_NUMBER: _ClassVar[int]
    ZEROS_FIELD_NUMBER: _ClassVar[int]
    KEPT_FLOOR_FIELD_NUMBER: _ClassVar[int]
    KEPT_WITHIN_FIELD_NUMBER: _ClassVar[int]
    kept: int
    zeros: int
    kept_floor: int
    kept_within: int
    def __init__(self, kept: _Optional[int] = ..., zeros: _Optional[int] = ..., kept_floor: _Optional[int] = ..., kept_within: _Optional[int] = ...) -> None: ...

class Bound(_message.Message):
    __slots__ = ("tail_l1_max", "tail_l2_max")
    TAIL_L1_MAX_FIELD_NUMBER: _ClassVar[int]
    TAIL_L2_MAX_FIELD_NUMBER: _ClassVar[int]
    tail_l1_max: float
    tail_l2_max: float
    def __init__(self, tail_l1_max: _Optional[float] = ..., tail_l2_max: _Optional[float] = ...) -> None: ...

class Certificate(_message.Message):
    __slots__ = ("tail_l1_max", "tail_l2_max", "frobenius", "frobenius_ratio")
    TAIL_L1_MAX_FIELD_NUMBER: _ClassVar[int]
    TAIL_L2_MAX_FIELD_NUMBER: _ClassVar[int]
    FROBENIUS_FIELD_NUMBER: _ClassVar[int]
    FROBENIUS_RATIO_FIELD_NUMBER: _ClassVar[int]
    tail_l1_max: float
    tail_l2_max: float
    frobenius: float
    frobenius_ratio: float
    def __init__(self, tail_l1_max: _Optional[float] = ..., tail_l2_max: _Optional[float] = ..., frobenius: _Optional[float] = ..., frobenius_ratio: _Optional[float] = ...) -> None: ...

class Payload(_message.Message):
    __slots__ = ("encoding", "length_bytes", "sha256")
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    LENGTH_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    encoding: Encoding
    length_bytes: int
    sha256: bytes
    def __init__(self, encoding: _Optional[_Union[Encoding, str]] = ..., length_bytes: _Optional[int] = ..., sha256: _Optional[bytes] = ...) -> None: ...

class NeuronReports(_message.Message):
    __slots__ = ("tensor", "first_neuron", "sparsity_index", "pq_index", "kept", "tail_l1", "tail_l2")
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    FIRST_NEURON_FIELD_NUMBER: _ClassVar[int]
    SPARSITY_INDEX_FIELD_NUMBER: _ClassVar[int]
    PQ_INDEX_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    TAIL_L1_FIELD_NUMBER: _ClassVar[int]
    TAIL_L2_FIELD_NUMBER: _ClassVar[int]
    tensor: int
    first_neuron: int
    sparsity_index: _containers.RepeatedScalarFieldContainer[float]
    pq_index: _containers.RepeatedScalarFieldContainer[float]
    kept: _containers.RepeatedScalarFieldContainer[int]
    tail_l1: _containers.RepeatedScalarFieldContainer[float]
    tail_l2: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, tensor: _Optional[int] = ..., first_neuron: _Optional[int] = ..., sparsity_index: _Optional[_Iterable[float]] = ..., pq_index: _Optional[_Iterable[float]] = ..., kept: _Optional[_Iterable[int]] = ..., tail_l1: _Optional[_Iterable[float]] = ..., tail_l2: _Optional[_Iterable[float]] = ...) -> None: ...

class Summary(_message.Message):
    __slots__ = ("tensors", "compressible_tensors", "weights", "zeros_before", "zeros_after", "kept", "frobenius", "frobenius_ratio", "network", "warnings", "timings", "sketch")
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    COMPRESSIBLE_TENSORS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    ZEROS_BEFORE_FIELD_NUMBER: _ClassVar[int]
    ZEROS_AFTER_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    GLOBAL_FIELD_NUMBER: _ClassVar[int]
    FROBENIUS_FIELD_NUMBER: _ClassVar[int]
    FROBENIUS_RATIO_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    SKETCH_FIELD_NUMBER: _ClassVar[int]
    tensors: int
    compressible_tensors: int
    weights: int
    zeros_before: int
    zeros_after: int
    kept: int
    frobenius: float
    frobenius_ratio: float
    network: NetworkCertificate
    warnings: _containers.RepeatedCompositeFieldContainer[Warning]
    timings: Timings
    sketch: Sketch
    def __init__(self, tensors: _Optional[int] = ..., compressible_tensors: _Optional[int] = ..., weights: _Optional[int] = ..., zeros_before: _Optional[int] = ..., zeros_after: _Optional[int] = ..., kept: _Optional[int] = ..., frobenius: _Optional[float] = ..., frobenius_ratio: _Optional[float] = ..., network: _Optional[_Union[NetworkCertificate, _Mapping]] = ..., warnings: _Optional[_Iterable[_Union[Warning, _Mapping]]] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ..., sketch: _Optional[_Union[Sketch, _Mapping]] = ..., **kwargs) -> None: ...

class NetworkCertificate(_message.Message):
    __slots__ = ("absence",)
    ABSENCE_FIELD_NUMBER: _ClassVar[int]
    absence: NetworkCertificateAbsence
    def __init__(self, absence: _Optional[_Union[NetworkCertificateAbsence, str]] = ...) -> None: ...

class Warning(_message.Message):
    __slots__ = ("code", "subject", "text")
    CODE_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    code: WarningCode
    subject: str
    text: str
    def __init__(self, code: _Optional[_Union[WarningCode, str]] = ..., subject: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class Timings(_message.Message):
    __slots__ = ("total_seconds", "receive_seconds", "compute_seconds")
    TOTAL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    total_seconds: float
    receive_seconds: float
    compute_seconds: float
    def __init__(self, total_seconds: _Optional[float] = ..., receive_seconds: _Optional[float] = ..., compute_seconds: _Optional[float] = ...) -> None: ...

class SketchOptions(_message.Message):
    __slots__ = ("previous",)
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    previous: Sketch
    def __init__(self, previous: _Optional[_Union[Sketch, _Mapping]] = ...) -> None: ...

class Sketch(_message.Message):
    __slots__ = ("options_sha256", "weights", "zeros", "max_magnitude", "exponent", "power_sums", "mantissa_bits", "level", "prefix", "weights_below", "bins", "counts_units", "units_below", "unit_total", "final")
    OPTIONS_SHA256_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    ZEROS_FIELD_NUMBER: _ClassVar[int]
    MAX_MAGNITUDE_FIELD_NUMBER: _ClassVar[int]
    EXPONENT_FIELD_NUMBER: _ClassVar[int]
    POWER_SUMS_FIELD_NUMBER: _ClassVar[int]
    MANTISSA_BITS_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_BELOW_FIELD_NUMBER: _ClassVar[int]
    BINS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_UNITS_FIELD_NUMBER: _ClassVar[int]
    UNITS_BELOW_FIELD_NUMBER: _ClassVar[int]
    UNIT_TOTAL_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    options_sha256: bytes
    weights: int
    zeros: int
    max_magnitude: float
    exponent: int
    power_sums: _containers.RepeatedCompositeFieldContainer[PowerSum]
    mantissa_bits: int
    level: int
    prefix: int
    weights_below: int
    bins: Bins
    counts_units: bool
    units_below: bytes
    unit_total: bytes
    final: bool
    def __init__(self, options_sha256: _Optional[bytes] = ..., weights: _Optional[int] = ..., zeros: _Optional[int] = ..., max_magnitude: _Optional[float] = ..., exponent: _Optional[int] = ..., power_sums: _Optional[_Iterable[_Union[PowerSum, _Mapping]]] = ..., mantissa_bits: _Optional[int] = ..., level: _Optional[int] = ..., prefix: _Optional[int] = ..., weights_below: _Optional[int] = ..., bins: _Optional[_Union[Bins, _Mapping]] = ..., counts_units: bool = ..., units_below: _Optional[bytes] = ..., unit_total: _Optional[bytes] = ..., final: bool = ...) -> None: ...

class PowerSum(_message.Message):
    __slots__ = ("order", "sum")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    SUM_FIELD_NUMBER: _ClassVar[int]
    order: float
    sum: float
    def __init__(self, order: _Optional[float] = ..., sum: _Optional[float] = ...) -> None: ...

class Bins(_message.Message):
    __slots__ = ("digits", "weights", "units")
    DIGITS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    digits: _containers.RepeatedScalarFieldContainer[int]
    weights: _containers.RepeatedScalarFieldContainer[int]
    units: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, digits: _Optional[_Iterable[int]] = ..., weights: _Optional[_Iterable[int]] = ..., units: _Optional[_Iterable[int]] = ...) -> None: ...

class GetCapabilitiesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetCapabilitiesResponse(_message.Message):
    __slots__ = ("version", "limits", "device", "dtypes", "rules", "scopes", "encodings")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    DTYPES_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    ENCODINGS_FIELD_NUMBER: _ClassVar[int]
    version: str
    limits: Limits
    device: Device
    dtypes: _containers.RepeatedScalarFieldContainer[str]
    rules: _containers.RepeatedScalarFieldContainer[str]
    scopes: _containers.RepeatedScalarFieldContainer[Scope]
    encodings: _containers.RepeatedScalarFieldContainer[Encoding]
    def __init__(self, version: _Optional[str] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., device: _Optional[_Union[Device, _Mapping]] = ..., dtypes: _Optional[_Iterable[str]] = ..., rules: _Optional[_Iterable[str]] = ..., scopes: _Optional[_Iterable[_Union[Scope, str]]] = ..., encodings: _Optional[_Iterable[_Union[Encoding, str]]] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("header_bytes", "tensors", "tensor_bytes", "payload_bytes", "pooled_payload_bytes", "concurrent_calls")
    HEADER_BYTES_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    TENSOR_BYTES_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    POOLED_PAYLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    CONCURRENT_CALLS_FIELD_NUMBER: _ClassVar[int]
    header_bytes: int
    tensors: int
    tensor_bytes: int
    payload_bytes: int
    pooled_payload_bytes: int
    concurrent_calls: int
    def __init__(self, header_bytes: _Optional[int] = ..., tensors: _Optional[int] = ..., tensor_bytes: _Optional[int] = ..., payload_bytes: _Optional[int] = ..., pooled_payload_bytes: _Optional[int] = ..., concurrent_calls: _Optional[int] = ...) -> None: ...

class Device(_message.Message):
    __slots__ = ("kind", "kernels")
    KIND_FIELD_NUMBER: _ClassVar[int]
    KERNELS_FIELD_NUMBER: _ClassVar[int]
    kind: str
    kernels: str
    def __init__(self, kind: _Optional[str] = ..., kernels: _Optional[str] = ...) -> None: ...
