from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ActivationKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACTIVATION_KIND_UNSPECIFIED: _ClassVar[ActivationKind]
    ACTIVATION_KIND_IDENTITY: _ClassVar[ActivationKind]
    ACTIVATION_KIND_RELU: _ClassVar[ActivationKind]
    ACTIVATION_KIND_LEAKY_RELU: _ClassVar[ActivationKind]
    ACTIVATION_KIND_CLIP: _ClassVar[ActivationKind]
    ACTIVATION_KIND_SIGMOID: _ClassVar[ActivationKind]
    ACTIVATION_KIND_TANH: _ClassVar[ActivationKind]
    ACTIVATION_KIND_GELU: _ClassVar[ActivationKind]
    ACTIVATION_KIND_GELU_TANH: _ClassVar[ActivationKind]
    ACTIVATION_KIND_SILU: _ClassVar[ActivationKind]
    ACTIVATION_KIND_ELU: _ClassVar[ActivationKind]
    ACTIVATION_KIND_SOFTPLUS: _ClassVar[ActivationKind]
    ACTIVATION_KIND_HARD_SIGMOID: _ClassVar[ActivationKind]
    ACTIVATION_KIND_HARD_SWISH: _ClassVar[ActivationKind]

class PoolKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    POOL_KIND_UNSPECIFIED: _ClassVar[PoolKind]
    POOL_KIND_MAX: _ClassVar[PoolKind]
    POOL_KIND_MEAN: _ClassVar[PoolKind]

class Grade(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GRADE_UNSPECIFIED: _ClassVar[Grade]
    GRADE_BOX: _ClassVar[Grade]
    GRADE_BALL: _ClassVar[Grade]
    GRADE_MEAN_SQUARE: _ClassVar[Grade]

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

class Delivery(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DELIVERY_UNSPECIFIED: _ClassVar[Delivery]
    DELIVERY_WHOLE: _ClassVar[Delivery]
    DELIVERY_MASK: _ClassVar[Delivery]
    DELIVERY_AS_SENT: _ClassVar[Delivery]

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
    PASS_THROUGH_REASON_QUANTIZED: _ClassVar[PassThroughReason]
    PASS_THROUGH_REASON_SCALE: _ClassVar[PassThroughReason]
    PASS_THROUGH_REASON_SCALE_UNUSABLE: _ClassVar[PassThroughReason]

class EndingReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENDING_REASON_UNSPECIFIED: _ClassVar[EndingReason]
    ENDING_REASON_UNBOUNDED: _ClassVar[EndingReason]
    ENDING_REASON_NONFINITE: _ClassVar[EndingReason]
    ENDING_REASON_OVERFLOW: _ClassVar[EndingReason]
    ENDING_REASON_NO_MOMENTS: _ClassVar[EndingReason]

class NetworkCertificateAbsence(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NETWORK_CERTIFICATE_ABSENCE_UNSPECIFIED: _ClassVar[NetworkCertificateAbsence]
    NETWORK_CERTIFICATE_ABSENCE_NO_TOPOLOGY: _ClassVar[NetworkCertificateAbsence]
    NETWORK_CERTIFICATE_ABSENCE_NO_INPUTS: _ClassVar[NetworkCertificateAbsence]
    NETWORK_CERTIFICATE_ABSENCE_TOO_LARGE: _ClassVar[NetworkCertificateAbsence]
    NETWORK_CERTIFICATE_ABSENCE_NO_RULE: _ClassVar[NetworkCertificateAbsence]
    NETWORK_CERTIFICATE_ABSENCE_UNBOUNDED: _ClassVar[NetworkCertificateAbsence]

class WarningCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WARNING_CODE_UNSPECIFIED: _ClassVar[WarningCode]
    WARNING_CODE_GLOB_WITHOUT_MATCH: _ClassVar[WarningCode]
    WARNING_CODE_NONFINITE_PASSED_THROUGH: _ClassVar[WarningCode]
    WARNING_CODE_NOTHING_COMPRESSIBLE: _ClassVar[WarningCode]
    WARNING_CODE_QUANTIZED_PASSED_THROUGH: _ClassVar[WarningCode]
    WARNING_CODE_SCALE_UNUSABLE: _ClassVar[WarningCode]
    WARNING_CODE_STORED_VALUES: _ClassVar[WarningCode]

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
    ERROR_REASON_INVALID_TOPOLOGY: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_INPUTS: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_MOMENTS: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_BUDGET: _ClassVar[ErrorReason]
    ERROR_REASON_TOPOLOGY_REQUIRED: _ClassVar[ErrorReason]
    ERROR_REASON_INPUTS_REQUIRED: _ClassVar[ErrorReason]
    ERROR_REASON_MOMENTS_REQUIRED: _ClassVar[ErrorReason]
    ERROR_REASON_MOMENTS_TOO_LARGE: _ClassVar[ErrorReason]
    ERROR_REASON_NETWORK_TOO_LARGE: _ClassVar[ErrorReason]
    ERROR_REASON_REFERENCES_OFF: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_URI: _ClassVar[ErrorReason]
    ERROR_REASON_URI_NOT_ALLOWED: _ClassVar[ErrorReason]
    ERROR_REASON_OBJECT_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_OBJECT_CHANGED: _ClassVar[ErrorReason]
    ERROR_REASON_STORE_DENIED: _ClassVar[ErrorReason]
    ERROR_REASON_STORE_UNAVAILABLE: _ClassVar[ErrorReason]
    ERROR_REASON_UNEXPECTED_DATA: _ClassVar[ErrorReason]
    ERROR_REASON_OUTPUT_EXISTS: _ClassVar[ErrorReason]
ACTIVATION_KIND_UNSPECIFIED: ActivationKind
ACTIVATION_KIND_IDENTITY: ActivationKind
ACTIVATION_KIND_RELU: ActivationKind
ACTIVATION_KIND_LEAKY_RELU: ActivationKind
ACTIVATION_KIND_CLIP: ActivationKind
ACTIVATION_KIND_SIGMOID: ActivationKind
ACTIVATION_KIND_TANH: ActivationKind
ACTIVATION_KIND_GELU: ActivationKind
ACTIVATION_KIND_GELU_TANH: ActivationKind
ACTIVATION_KIND_SILU: ActivationKind
ACTIVATION_KIND_ELU: ActivationKind
ACTIVATION_KIND_SOFTPLUS: ActivationKind
ACTIVATION_KIND_HARD_SIGMOID: ActivationKind
ACTIVATION_KIND_HARD_SWISH: ActivationKind
POOL_KIND_UNSPECIFIED: PoolKind
POOL_KIND_MAX: PoolKind
POOL_KIND_MEAN: PoolKind
GRADE_UNSPECIFIED: Grade
GRADE_BOX: Grade
GRADE_BALL: Grade
GRADE_MEAN_SQUARE: Grade
SCOPE_UNSPECIFIED: Scope
SCOPE_NEURON: Scope
SCOPE_LAYER: Scope
SCOPE_GLOBAL: Scope
NONFINITE_POLICY_UNSPECIFIED: NonfinitePolicy
NONFINITE_POLICY_REFUSE: NonfinitePolicy
NONFINITE_POLICY_PASS_THROUGH: NonfinitePolicy
ENCODING_UNSPECIFIED: Encoding
ENCODING_DENSE: Encoding
DELIVERY_UNSPECIFIED: Delivery
DELIVERY_WHOLE: Delivery
DELIVERY_MASK: Delivery
DELIVERY_AS_SENT: Delivery
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
PASS_THROUGH_REASON_QUANTIZED: PassThroughReason
PASS_THROUGH_REASON_SCALE: PassThroughReason
PASS_THROUGH_REASON_SCALE_UNUSABLE: PassThroughReason
ENDING_REASON_UNSPECIFIED: EndingReason
ENDING_REASON_UNBOUNDED: EndingReason
ENDING_REASON_NONFINITE: EndingReason
ENDING_REASON_OVERFLOW: EndingReason
ENDING_REASON_NO_MOMENTS: EndingReason
NETWORK_CERTIFICATE_ABSENCE_UNSPECIFIED: NetworkCertificateAbsence
NETWORK_CERTIFICATE_ABSENCE_NO_TOPOLOGY: NetworkCertificateAbsence
NETWORK_CERTIFICATE_ABSENCE_NO_INPUTS: NetworkCertificateAbsence
NETWORK_CERTIFICATE_ABSENCE_TOO_LARGE: NetworkCertificateAbsence
NETWORK_CERTIFICATE_ABSENCE_NO_RULE: NetworkCertificateAbsence
NETWORK_CERTIFICATE_ABSENCE_UNBOUNDED: NetworkCertificateAbsence
WARNING_CODE_UNSPECIFIED: WarningCode
WARNING_CODE_GLOB_WITHOUT_MATCH: WarningCode
WARNING_CODE_NONFINITE_PASSED_THROUGH: WarningCode
WARNING_CODE_NOTHING_COMPRESSIBLE: WarningCode
WARNING_CODE_QUANTIZED_PASSED_THROUGH: WarningCode
WARNING_CODE_SCALE_UNUSABLE: WarningCode
WARNING_CODE_STORED_VALUES: WarningCode
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
ERROR_REASON_INVALID_TOPOLOGY: ErrorReason
ERROR_REASON_INVALID_INPUTS: ErrorReason
ERROR_REASON_INVALID_MOMENTS: ErrorReason
ERROR_REASON_INVALID_BUDGET: ErrorReason
ERROR_REASON_TOPOLOGY_REQUIRED: ErrorReason
ERROR_REASON_INPUTS_REQUIRED: ErrorReason
ERROR_REASON_MOMENTS_REQUIRED: ErrorReason
ERROR_REASON_MOMENTS_TOO_LARGE: ErrorReason
ERROR_REASON_NETWORK_TOO_LARGE: ErrorReason
ERROR_REASON_REFERENCES_OFF: ErrorReason
ERROR_REASON_INVALID_URI: ErrorReason
ERROR_REASON_URI_NOT_ALLOWED: ErrorReason
ERROR_REASON_OBJECT_NOT_FOUND: ErrorReason
ERROR_REASON_OBJECT_CHANGED: ErrorReason
ERROR_REASON_STORE_DENIED: ErrorReason
ERROR_REASON_STORE_UNAVAILABLE: ErrorReason
ERROR_REASON_UNEXPECTED_DATA: ErrorReason
ERROR_REASON_OUTPUT_EXISTS: ErrorReason

class AnalyzeRequest(_message.Message):
    __slots__ = ("options", "data", "moments")
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    MOMENTS_FIELD_NUMBER: _ClassVar[int]
    options: AnalyzeOptions
    data: bytes
    moments: Moments
    def __init__(self, options: _Optional[_Union[AnalyzeOptions, _Mapping]] = ..., data: _Optional[bytes] = ..., moments: _Optional[_Union[Moments, _Mapping]] = ...) -> None: ...

class AnalyzeOptions(_message.Message):
    __slots__ = ("selection", "indices", "rule", "nonfinite", "ignore_zeros", "neuron_reports", "distribution", "sketch", "network", "magnitudes_only", "remove_dead_neurons", "source_uri", "plans_only")
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    NONFINITE_FIELD_NUMBER: _ClassVar[int]
    IGNORE_ZEROS_FIELD_NUMBER: _ClassVar[int]
    NEURON_REPORTS_FIELD_NUMBER: _ClassVar[int]
    DISTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    SKETCH_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    MAGNITUDES_ONLY_FIELD_NUMBER: _ClassVar[int]
    REMOVE_DEAD_NEURONS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_URI_FIELD_NUMBER: _ClassVar[int]
    PLANS_ONLY_FIELD_NUMBER: _ClassVar[int]
    selection: Selection
    indices: IndexOptions
    rule: Rule
    nonfinite: NonfinitePolicy
    ignore_zeros: bool
    neuron_reports: bool
    distribution: bool
    sketch: SketchOptions
    network: Network
    magnitudes_only: bool
    remove_dead_neurons: bool
    source_uri: str
    plans_only: bool
    def __init__(self, selection: _Optional[_Union[Selection, _Mapping]] = ..., indices: _Optional[_Union[IndexOptions, _Mapping]] = ..., rule: _Optional[_Union[Rule, _Mapping]] = ..., nonfinite: _Optional[_Union[NonfinitePolicy, str]] = ..., ignore_zeros: bool = ..., neuron_reports: bool = ..., distribution: bool = ..., sketch: _Optional[_Union[SketchOptions, _Mapping]] = ..., network: _Optional[_Union[Network, _Mapping]] = ..., magnitudes_only: bool = ..., remove_dead_neurons: bool = ..., source_uri: _Optional[str] = ..., plans_only: bool = ...) -> None: ...

class CompressRequest(_message.Message):
    __slots__ = ("options", "data", "moments")
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    MOMENTS_FIELD_NUMBER: _ClassVar[int]
    options: CompressOptions
    data: bytes
    moments: Moments
    def __init__(self, options: _Optional[_Union[CompressOptions, _Mapping]] = ..., data: _Optional[bytes] = ..., moments: _Optional[_Union[Moments, _Mapping]] = ...) -> None: ...

class CompressOptions(_message.Message):
    __slots__ = ("selection", "indices", "rule", "nonfinite", "ignore_zeros", "neuron_reports", "encoding", "sketch", "network", "magnitudes_only", "remove_dead_neurons", "source_uri", "output_uri", "replace_output", "delivery")
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    NONFINITE_FIELD_NUMBER: _ClassVar[int]
    IGNORE_ZEROS_FIELD_NUMBER: _ClassVar[int]
    NEURON_REPORTS_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    SKETCH_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    MAGNITUDES_ONLY_FIELD_NUMBER: _ClassVar[int]
    REMOVE_DEAD_NEURONS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_URI_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_URI_FIELD_NUMBER: _ClassVar[int]
    REPLACE_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    selection: Selection
    indices: IndexOptions
    rule: Rule
    nonfinite: NonfinitePolicy
    ignore_zeros: bool
    neuron_reports: bool
    encoding: Encoding
    sketch: Sketch
    network: Network
    magnitudes_only: bool
    remove_dead_neurons: bool
    source_uri: str
    output_uri: str
    replace_output: bool
    delivery: Delivery
    def __init__(self, selection: _Optional[_Union[Selection, _Mapping]] = ..., indices: _Optional[_Union[IndexOptions, _Mapping]] = ..., rule: _Optional[_Union[Rule, _Mapping]] = ..., nonfinite: _Optional[_Union[NonfinitePolicy, str]] = ..., ignore_zeros: bool = ..., neuron_reports: bool = ..., encoding: _Optional[_Union[Encoding, str]] = ..., sketch: _Optional[_Union[Sketch, _Mapping]] = ..., network: _Optional[_Union[Network, _Mapping]] = ..., magnitudes_only: bool = ..., remove_dead_neurons: bool = ..., source_uri: _Optional[str] = ..., output_uri: _Optional[str] = ..., replace_output: bool = ..., delivery: _Optional[_Union[Delivery, str]] = ...) -> None: ...

class Network(_message.Message):
    __slots__ = ("topology", "inputs")
    TOPOLOGY_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    topology: Topology
    inputs: InputKnowledge
    def __init__(self, topology: _Optional[_Union[Topology, _Mapping]] = ..., inputs: _Optional[_Union[InputKnowledge, _Mapping]] = ...) -> None: ...

class Topology(_message.Message):
    __slots__ = ("nodes", "output")
    NODES_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[Node]
    output: str
    def __init__(self, nodes: _Optional[_Iterable[_Union[Node, _Mapping]]] = ..., output: _Optional[str] = ...) -> None: ...

class Node(_message.Message):
    __slots__ = ("name", "inputs", "input", "linear", "conv", "activation", "add", "concat", "pool", "global_mean", "reshape", "batch_norm", "affine", "softmax", "unbounded")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    LINEAR_FIELD_NUMBER: _ClassVar[int]
    CONV_FIELD_NUMBER: _ClassVar[int]
    ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    ADD_FIELD_NUMBER: _ClassVar[int]
    CONCAT_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    GLOBAL_MEAN_FIELD_NUMBER: _ClassVar[int]
    RESHAPE_FIELD_NUMBER: _ClassVar[int]
    BATCH_NORM_FIELD_NUMBER: _ClassVar[int]
    AFFINE_FIELD_NUMBER: _ClassVar[int]
    SOFTMAX_FIELD_NUMBER: _ClassVar[int]
    UNBOUNDED_FIELD_NUMBER: _ClassVar[int]
    name: str
    inputs: _containers.RepeatedScalarFieldContainer[str]
    input: InputNode
    linear: LinearNode
    conv: ConvNode
    activation: ActivationNode
    add: AddNode
    concat: ConcatNode
    pool: PoolNode
    global_mean: GlobalMeanNode
    reshape: ReshapeNode
    batch_norm: BatchNormNode
    affine: AffineNode
    softmax: SoftmaxNode
    unbounded: UnboundedNode
    def __init__(self, name: _Optional[str] = ..., inputs: _Optional[_Iterable[str]] = ..., input: _Optional[_Union[InputNode, _Mapping]] = ..., linear: _Optional[_Union[LinearNode, _Mapping]] = ..., conv: _Optional[_Union[ConvNode, _Mapping]] = ..., activation: _Optional[_Union[ActivationNode, _Mapping]] = ..., add: _Optional[_Union[AddNode, _Mapping]] = ..., concat: _Optional[_Union[ConcatNode, _Mapping]] = ..., pool: _Optional[_Union[PoolNode, _Mapping]] = ..., global_mean: _Optional[_Union[GlobalMeanNode, _Mapping]] = ..., reshape: _Optional[_Union[ReshapeNode, _Mapping]] = ..., batch_norm: _Optional[_Union[BatchNormNode, _Mapping]] = ..., affine: _Optional[_Union[AffineNode, _Mapping]] = ..., softmax: _Optional[_Union[SoftmaxNode, _Mapping]] = ..., unbounded: _Optional[_Union[UnboundedNode, _Mapping]] = ...) -> None: ...

class InputNode(_message.Message):
    __slots__ = ("shape",)
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    shape: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, shape: _Optional[_Iterable[int]] = ...) -> None: ...

class LinearNode(_message.Message):
    __slots__ = ("weight", "bias", "transposed")
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    BIAS_FIELD_NUMBER: _ClassVar[int]
    TRANSPOSED_FIELD_NUMBER: _ClassVar[int]
    weight: str
    bias: str
    transposed: bool
    def __init__(self, weight: _Optional[str] = ..., bias: _Optional[str] = ..., transposed: bool = ...) -> None: ...

class ConvNode(_message.Message):
    __slots__ = ("weight", "bias", "stride", "padding", "dilation", "groups")
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    BIAS_FIELD_NUMBER: _ClassVar[int]
    STRIDE_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    DILATION_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    weight: str
    bias: str
    stride: _containers.RepeatedScalarFieldContainer[int]
    padding: _containers.RepeatedScalarFieldContainer[int]
    dilation: _containers.RepeatedScalarFieldContainer[int]
    groups: int
    def __init__(self, weight: _Optional[str] = ..., bias: _Optional[str] = ..., stride: _Optional[_Iterable[int]] = ..., padding: _Optional[_Iterable[int]] = ..., dilation: _Optional[_Iterable[int]] = ..., groups: _Optional[int] = ...) -> None: ...

class ActivationNode(_message.Message):
    __slots__ = ("kind", "parameters")
    KIND_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    kind: ActivationKind
    parameters: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, kind: _Optional[_Union[ActivationKind, str]] = ..., parameters: _Optional[_Iterable[float]] = ...) -> None: ...

class AddNode(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ConcatNode(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PoolNode(_message.Message):
    __slots__ = ("kind", "kernel", "stride", "padding")
    KIND_FIELD_NUMBER: _ClassVar[int]
    KERNEL_FIELD_NUMBER: _ClassVar[int]
    STRIDE_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    kind: PoolKind
    kernel: _containers.RepeatedScalarFieldContainer[int]
    stride: _containers.RepeatedScalarFieldContainer[int]
    padding: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, kind: _Optional[_Union[PoolKind, str]] = ..., kernel: _Optional[_Iterable[int]] = ..., stride: _Optional[_Iterable[int]] = ..., padding: _Optional[_Iterable[int]] = ...) -> None: ...

class GlobalMeanNode(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReshapeNode(_message.Message):
    __slots__ = ("shape",)
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    shape: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, shape: _Optional[_Iterable[int]] = ...) -> None: ...

class BatchNormNode(_message.Message):
    __slots__ = ("weight", "bias", "mean", "variance", "epsilon")
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    BIAS_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    VARIANCE_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    weight: str
    bias: str
    mean: str
    variance: str
    epsilon: float
    def __init__(self, weight: _Optional[str] = ..., bias: _Optional[str] = ..., mean: _Optional[str] = ..., variance: _Optional[str] = ..., epsilon: _Optional[float] = ...) -> None: ...

class AffineNode(_message.Message):
    __slots__ = ("scale", "shift")
    SCALE_FIELD_NUMBER: _ClassVar[int]
    SHIFT_FIELD_NUMBER: _ClassVar[int]
    scale: _containers.RepeatedScalarFieldContainer[float]
    shift: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, scale: _Optional[_Iterable[float]] = ..., shift: _Optional[_Iterable[float]] = ...) -> None: ...

class SoftmaxNode(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UnboundedNode(_message.Message):
    __slots__ = ("what",)
    WHAT_FIELD_NUMBER: _ClassVar[int]
    what: str
    def __init__(self, what: _Optional[str] = ...) -> None: ...

class InputKnowledge(_message.Message):
    __slots__ = ("box", "l2_radius", "margins")
    BOX_FIELD_NUMBER: _ClassVar[int]
    L2_RADIUS_FIELD_NUMBER: _ClassVar[int]
    MARGINS_FIELD_NUMBER: _ClassVar[int]
    box: Box
    l2_radius: float
    margins: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, box: _Optional[_Union[Box, _Mapping]] = ..., l2_radius: _Optional[float] = ..., margins: _Optional[_Iterable[float]] = ...) -> None: ...

class Box(_message.Message):
    __slots__ = ("low", "high")
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    low: _containers.RepeatedScalarFieldContainer[float]
    high: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, low: _Optional[_Iterable[float]] = ..., high: _Optional[_Iterable[float]] = ...) -> None: ...

class Moments(_message.Message):
    __slots__ = ("tensor", "second_moments", "matrix")
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    SECOND_MOMENTS_FIELD_NUMBER: _ClassVar[int]
    MATRIX_FIELD_NUMBER: _ClassVar[int]
    tensor: str
    second_moments: _containers.RepeatedScalarFieldContainer[float]
    matrix: bytes
    def __init__(self, tensor: _Optional[str] = ..., second_moments: _Optional[_Iterable[float]] = ..., matrix: _Optional[bytes] = ...) -> None: ...

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
    __slots__ = ("scope", "sparsity_index", "pq_index", "tail", "lq_bound", "fraction", "n_of_m", "error_budget", "lasso")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    SPARSITY_INDEX_FIELD_NUMBER: _ClassVar[int]
    PQ_INDEX_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    LQ_BOUND_FIELD_NUMBER: _ClassVar[int]
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    N_OF_M_FIELD_NUMBER: _ClassVar[int]
    ERROR_BUDGET_FIELD_NUMBER: _ClassVar[int]
    LASSO_FIELD_NUMBER: _ClassVar[int]
    scope: Scope
    sparsity_index: SparsityIndexRule
    pq_index: PqIndexRule
    tail: TailRule
    lq_bound: LqBoundRule
    fraction: FractionRule
    n_of_m: NOfMRule
    error_budget: ErrorBudgetRule
    lasso: LassoRule
    def __init__(self, scope: _Optional[_Union[Scope, str]] = ..., sparsity_index: _Optional[_Union[SparsityIndexRule, _Mapping]] = ..., pq_index: _Optional[_Union[PqIndexRule, _Mapping]] = ..., tail: _Optional[_Union[TailRule, _Mapping]] = ..., lq_bound: _Optional[_Union[LqBoundRule, _Mapping]] = ..., fraction: _Optional[_Union[FractionRule, _Mapping]] = ..., n_of_m: _Optional[_Union[NOfMRule, _Mapping]] = ..., error_budget: _Optional[_Union[ErrorBudgetRule, _Mapping]] = ..., lasso: _Optional[_Union[LassoRule, _Mapping]] = ...) -> None: ...

class ErrorBudgetRule(_message.Message):
    __slots__ = ("max_error", "pruned_ratio", "grade", "measured")
    MAX_ERROR_FIELD_NUMBER: _ClassVar[int]
    PRUNED_RATIO_FIELD_NUMBER: _ClassVar[int]
    GRADE_FIELD_NUMBER: _ClassVar[int]
    MEASURED_FIELD_NUMBER: _ClassVar[int]
    max_error: float
    pruned_ratio: float
    grade: Grade
    measured: bool
    def __init__(self, max_error: _Optional[float] = ..., pruned_ratio: _Optional[float] = ..., grade: _Optional[_Union[Grade, str]] = ..., measured: bool = ...) -> None: ...

class LassoRule(_message.Message):
    __slots__ = ("epsilon",)
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    epsilon: float
    def __init__(self, epsilon: _Optional[float] = ...) -> None: ...

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
    __slots__ = ("request_id", "version", "header_bytes", "payload_bytes", "tensors", "compressible_tensors", "compressible_weights", "indices", "rule", "header_sha256", "weights_before")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    HEADER_BYTES_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    COMPRESSIBLE_TENSORS_FIELD_NUMBER: _ClassVar[int]
    COMPRESSIBLE_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    HEADER_SHA256_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_BEFORE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    version: str
    header_bytes: int
    payload_bytes: int
    tensors: int
    compressible_tensors: int
    compressible_weights: int
    indices: IndexOptions
    rule: Rule
    header_sha256: bytes
    weights_before: int
    def __init__(self, request_id: _Optional[str] = ..., version: _Optional[str] = ..., header_bytes: _Optional[int] = ..., payload_bytes: _Optional[int] = ..., tensors: _Optional[int] = ..., compressible_tensors: _Optional[int] = ..., compressible_weights: _Optional[int] = ..., indices: _Optional[_Union[IndexOptions, _Mapping]] = ..., rule: _Optional[_Union[Rule, _Mapping]] = ..., header_sha256: _Optional[bytes] = ..., weights_before: _Optional[int] = ...) -> None: ...

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
    __slots__ = ("tensor", "name", "treatment", "reason", "measurement", "distribution", "allocation", "bound", "certificate", "payload", "weighed")
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
    WEIGHED_FIELD_NUMBER: _ClassVar[int]
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
    weighed: Weighed
    def __init__(self, tensor: _Optional[int] = ..., name: _Optional[str] = ..., treatment: _Optional[_Union[Treatment, str]] = ..., reason: _Optional[_Union[PassThroughReason, str]] = ..., measurement: _Optional[_Union[Measurement, _Mapping]] = ..., distribution: _Optional[_Union[Distribution, _Mapping]] = ..., allocation: _Optional[_Union[Allocation, _Mapping]] = ..., bound: _Optional[_Union[Bound, _Mapping]] = ..., certificate: _Optional[_Union[Certificate, _Mapping]] = ..., payload: _Optional[_Union[Payload, _Mapping]] = ..., weighed: _Optional[_Union[Weighed, _Mapping]] = ...) -> None: ...

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

class Weighed(_message.Message):
    __slots__ = ("layer", "neuron_sparsity_index", "neuron_pq_index")
    LAYER_FIELD_NUMBER: _ClassVar[int]
    NEURON_SPARSITY_INDEX_FIELD_NUMBER: _ClassVar[int]
    NEURON_PQ_INDEX_FIELD_NUMBER: _ClassVar[int]
    layer: Indices
    neuron_sparsity_index: Spread
    neuron_pq_index: Spread
    def __init__(self, layer: _Optional[_Union[Indices, _Mapping]] = ..., neuron_sparsity_index: _Optional[_Union[Spread, _Mapping]] = ..., neuron_pq_index: _Optional[_Union[Spread, _Mapping]] = ...) -> None: ...

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
    __slots__ = ("kept", "zeros", "kept_floor", "kept_within", "dead_neurons", "dead_weights")
    KEPT_FIELD_NUMBER: _ClassVar[int]
    ZEROS_FIELD_NUMBER: _ClassVar[int]
    KEPT_FLOOR_FIELD_NUMBER: _ClassVar[int]
    KEPT_WITHIN_FIELD_NUMBER: _ClassVar[int]
    DEAD_NEURONS_FIELD_NUMBER: _ClassVar[int]
    DEAD_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    kept: int
    zeros: int
    kept_floor: int
    kept_within: int
    dead_neurons: int
    dead_weights: int
    def __init__(self, kept: _Optional[int] = ..., zeros: _Optional[int] = ..., kept_floor: _Optional[int] = ..., kept_within: _Optional[int] = ..., dead_neurons: _Optional[int] = ..., dead_weights: _Optional[int] = ...) -> None: ...

class Bound(_message.Message):
    __slots__ = ("tail_l1_max", "tail_l2_max")
    TAIL_L1_MAX_FIELD_NUMBER: _ClassVar[int]
    TAIL_L2_MAX_FIELD_NUMBER: _ClassVar[int]
    tail_l1_max: float
    tail_l2_max: float
    def __init__(self, tail_l1_max: _Optional[float] = ..., tail_l2_max: _Optional[float] = ...) -> None: ...

class Certificate(_message.Message):
    __slots__ = ("tail_l1_max", "tail_l2_max", "frobenius", "frobenius_ratio", "mean_square_max", "mean_square_l2")
    TAIL_L1_MAX_FIELD_NUMBER: _ClassVar[int]
    TAIL_L2_MAX_FIELD_NUMBER: _ClassVar[int]
    FROBENIUS_FIELD_NUMBER: _ClassVar[int]
    FROBENIUS_RATIO_FIELD_NUMBER: _ClassVar[int]
    MEAN_SQUARE_MAX_FIELD_NUMBER: _ClassVar[int]
    MEAN_SQUARE_L2_FIELD_NUMBER: _ClassVar[int]
    tail_l1_max: float
    tail_l2_max: float
    frobenius: float
    frobenius_ratio: float
    mean_square_max: float
    mean_square_l2: float
    def __init__(self, tail_l1_max: _Optional[float] = ..., tail_l2_max: _Optional[float] = ..., frobenius: _Optional[float] = ..., frobenius_ratio: _Optional[float] = ..., mean_square_max: _Optional[float] = ..., mean_square_l2: _Optional[float] = ...) -> None: ...

class Payload(_message.Message):
    __slots__ = ("encoding", "length_bytes", "sha256", "delivery")
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    LENGTH_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    encoding: Encoding
    length_bytes: int
    sha256: bytes
    delivery: Delivery
    def __init__(self, encoding: _Optional[_Union[Encoding, str]] = ..., length_bytes: _Optional[int] = ..., sha256: _Optional[bytes] = ..., delivery: _Optional[_Union[Delivery, str]] = ...) -> None: ...

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
    __slots__ = ("tensors", "compressible_tensors", "weights", "zeros_before", "zeros_after", "kept", "frobenius", "frobenius_ratio", "network", "warnings", "timings", "sketch", "stored")
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
    STORED_FIELD_NUMBER: _ClassVar[int]
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
    stored: Stored
    def __init__(self, tensors: _Optional[int] = ..., compressible_tensors: _Optional[int] = ..., weights: _Optional[int] = ..., zeros_before: _Optional[int] = ..., zeros_after: _Optional[int] = ..., kept: _Optional[int] = ..., frobenius: _Optional[float] = ..., frobenius_ratio: _Optional[float] = ..., network: _Optional[_Union[NetworkCertificate, _Mapping]] = ..., warnings: _Optional[_Iterable[_Union[Warning, _Mapping]]] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ..., sketch: _Optional[_Union[Sketch, _Mapping]] = ..., stored: _Optional[_Union[Stored, _Mapping]] = ..., **kwargs) -> None: ...

class Stored(_message.Message):
    __slots__ = ("uri", "length_bytes", "sha256", "etag")
    URI_FIELD_NUMBER: _ClassVar[int]
    LENGTH_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    uri: str
    length_bytes: int
    sha256: bytes
    etag: str
    def __init__(self, uri: _Optional[str] = ..., length_bytes: _Optional[int] = ..., sha256: _Optional[bytes] = ..., etag: _Optional[str] = ...) -> None: ...

class NetworkCertificate(_message.Message):
    __slots__ = ("absence", "node", "reaches_output", "endings", "grades", "tightest", "layers", "budget", "layers_left_out")
    ABSENCE_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    REACHES_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    ENDINGS_FIELD_NUMBER: _ClassVar[int]
    GRADES_FIELD_NUMBER: _ClassVar[int]
    TIGHTEST_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    LAYERS_LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    absence: NetworkCertificateAbsence
    node: str
    reaches_output: bool
    endings: _containers.RepeatedCompositeFieldContainer[Ending]
    grades: _containers.RepeatedCompositeFieldContainer[GradeCertificate]
    tightest: Grade
    layers: _containers.RepeatedCompositeFieldContainer[LayerEffect]
    budget: BudgetSpent
    layers_left_out: int
    def __init__(self, absence: _Optional[_Union[NetworkCertificateAbsence, str]] = ..., node: _Optional[str] = ..., reaches_output: bool = ..., endings: _Optional[_Iterable[_Union[Ending, _Mapping]]] = ..., grades: _Optional[_Iterable[_Union[GradeCertificate, _Mapping]]] = ..., tightest: _Optional[_Union[Grade, str]] = ..., layers: _Optional[_Iterable[_Union[LayerEffect, _Mapping]]] = ..., budget: _Optional[_Union[BudgetSpent, _Mapping]] = ..., layers_left_out: _Optional[int] = ...) -> None: ...

class Ending(_message.Message):
    __slots__ = ("node", "reason", "text")
    NODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    node: str
    reason: EndingReason
    text: str
    def __init__(self, node: _Optional[str] = ..., reason: _Optional[_Union[EndingReason, str]] = ..., text: _Optional[str] = ...) -> None: ...

class GradeCertificate(_message.Message):
    __slots__ = ("grade", "node", "output_error_max", "output_error_l2", "output_errors", "unchanged_share", "operator_norm_product")
    GRADE_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_ERROR_MAX_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_ERROR_L2_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_ERRORS_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_SHARE_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_NORM_PRODUCT_FIELD_NUMBER: _ClassVar[int]
    grade: Grade
    node: str
    output_error_max: float
    output_error_l2: float
    output_errors: _containers.RepeatedScalarFieldContainer[float]
    unchanged_share: float
    operator_norm_product: float
    def __init__(self, grade: _Optional[_Union[Grade, str]] = ..., node: _Optional[str] = ..., output_error_max: _Optional[float] = ..., output_error_l2: _Optional[float] = ..., output_errors: _Optional[_Iterable[float]] = ..., unchanged_share: _Optional[float] = ..., operator_norm_product: _Optional[float] = ...) -> None: ...

class LayerEffect(_message.Message):
    __slots__ = ("node", "tensor", "grade", "own_error_max", "own_error_l2", "error_max", "error_l2")
    NODE_FIELD_NUMBER: _ClassVar[int]
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    GRADE_FIELD_NUMBER: _ClassVar[int]
    OWN_ERROR_MAX_FIELD_NUMBER: _ClassVar[int]
    OWN_ERROR_L2_FIELD_NUMBER: _ClassVar[int]
    ERROR_MAX_FIELD_NUMBER: _ClassVar[int]
    ERROR_L2_FIELD_NUMBER: _ClassVar[int]
    node: str
    tensor: str
    grade: Grade
    own_error_max: float
    own_error_l2: float
    error_max: float
    error_l2: float
    def __init__(self, node: _Optional[str] = ..., tensor: _Optional[str] = ..., grade: _Optional[_Union[Grade, str]] = ..., own_error_max: _Optional[float] = ..., own_error_l2: _Optional[float] = ..., error_max: _Optional[float] = ..., error_l2: _Optional[float] = ...) -> None: ...

class BudgetSpent(_message.Message):
    __slots__ = ("max_error", "cost", "certified_error", "unused", "grade")
    MAX_ERROR_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    CERTIFIED_ERROR_FIELD_NUMBER: _ClassVar[int]
    UNUSED_FIELD_NUMBER: _ClassVar[int]
    GRADE_FIELD_NUMBER: _ClassVar[int]
    max_error: float
    cost: float
    certified_error: float
    unused: float
    grade: Grade
    def __init__(self, max_error: _Optional[float] = ..., cost: _Optional[float] = ..., certified_error: _Optional[float] = ..., unused: _Optional[float] = ..., grade: _Optional[_Union[Grade, str]] = ...) -> None: ...

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
    __slots__ = ("options_sha256", "weights", "zeros", "max_magnitude", "exponent", "power_sums", "mantissa_bits", "level", "prefix", "weights_below", "bins", "counts_units", "units_below", "unit_total", "final", "sensitivities")
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
    SENSITIVITIES_FIELD_NUMBER: _ClassVar[int]
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
    sensitivities: _containers.RepeatedCompositeFieldContainer[Sensitivities]
    def __init__(self, options_sha256: _Optional[bytes] = ..., weights: _Optional[int] = ..., zeros: _Optional[int] = ..., max_magnitude: _Optional[float] = ..., exponent: _Optional[int] = ..., power_sums: _Optional[_Iterable[_Union[PowerSum, _Mapping]]] = ..., mantissa_bits: _Optional[int] = ..., level: _Optional[int] = ..., prefix: _Optional[int] = ..., weights_below: _Optional[int] = ..., bins: _Optional[_Union[Bins, _Mapping]] = ..., counts_units: bool = ..., units_below: _Optional[bytes] = ..., unit_total: _Optional[bytes] = ..., final: bool = ..., sensitivities: _Optional[_Iterable[_Union[Sensitivities, _Mapping]]] = ...) -> None: ...

class Sensitivities(_message.Message):
    __slots__ = ("tensor", "neurons")
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    NEURONS_FIELD_NUMBER: _ClassVar[int]
    tensor: str
    neurons: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, tensor: _Optional[str] = ..., neurons: _Optional[_Iterable[float]] = ...) -> None: ...

class PowerSum(_message.Message):
    __slots__ = ("order", "sum")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    SUM_FIELD_NUMBER: _ClassVar[int]
    order: float
    sum: float
    def __init__(self, order: _Optional[float] = ..., sum: _Optional[float] = ...) -> None: ...

class Bins(_message.Message):
    __slots__ = ("digits", "weights", "units", "weights_before")
    DIGITS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_BEFORE_FIELD_NUMBER: _ClassVar[int]
    digits: _containers.RepeatedScalarFieldContainer[int]
    weights: _containers.RepeatedScalarFieldContainer[int]
    units: _containers.RepeatedScalarFieldContainer[int]
    weights_before: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, digits: _Optional[_Iterable[int]] = ..., weights: _Optional[_Iterable[int]] = ..., units: _Optional[_Iterable[int]] = ..., weights_before: _Optional[_Iterable[int]] = ...) -> None: ...

class GetCapabilitiesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetCapabilitiesResponse(_message.Message):
    __slots__ = ("version", "limits", "device", "dtypes", "rules", "scopes", "encodings", "source_schemes", "output_schemes", "deliveries")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    DTYPES_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    ENCODINGS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_SCHEMES_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_SCHEMES_FIELD_NUMBER: _ClassVar[int]
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    version: str
    limits: Limits
    device: Device
    dtypes: _containers.RepeatedScalarFieldContainer[str]
    rules: _containers.RepeatedScalarFieldContainer[str]
    scopes: _containers.RepeatedScalarFieldContainer[Scope]
    encodings: _containers.RepeatedScalarFieldContainer[Encoding]
    source_schemes: _containers.RepeatedScalarFieldContainer[str]
    output_schemes: _containers.RepeatedScalarFieldContainer[str]
    deliveries: _containers.RepeatedScalarFieldContainer[Delivery]
    def __init__(self, version: _Optional[str] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., device: _Optional[_Union[Device, _Mapping]] = ..., dtypes: _Optional[_Iterable[str]] = ..., rules: _Optional[_Iterable[str]] = ..., scopes: _Optional[_Iterable[_Union[Scope, str]]] = ..., encodings: _Optional[_Iterable[_Union[Encoding, str]]] = ..., source_schemes: _Optional[_Iterable[str]] = ..., output_schemes: _Optional[_Iterable[str]] = ..., deliveries: _Optional[_Iterable[_Union[Delivery, str]]] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("header_bytes", "tensors", "tensor_bytes", "payload_bytes", "pooled_payload_bytes", "concurrent_calls", "moments_bytes", "network_work")
    HEADER_BYTES_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    TENSOR_BYTES_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    POOLED_PAYLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    CONCURRENT_CALLS_FIELD_NUMBER: _ClassVar[int]
    MOMENTS_BYTES_FIELD_NUMBER: _ClassVar[int]
    NETWORK_WORK_FIELD_NUMBER: _ClassVar[int]
    header_bytes: int
    tensors: int
    tensor_bytes: int
    payload_bytes: int
    pooled_payload_bytes: int
    concurrent_calls: int
    moments_bytes: int
    network_work: int
    def __init__(self, header_bytes: _Optional[int] = ..., tensors: _Optional[int] = ..., tensor_bytes: _Optional[int] = ..., payload_bytes: _Optional[int] = ..., pooled_payload_bytes: _Optional[int] = ..., concurrent_calls: _Optional[int] = ..., moments_bytes: _Optional[int] = ..., network_work: _Optional[int] = ...) -> None: ...

class Device(_message.Message):
    __slots__ = ("kind", "kernels")
    KIND_FIELD_NUMBER: _ClassVar[int]
    KERNELS_FIELD_NUMBER: _ClassVar[int]
    kind: str
    kernels: str
    def __init__(self, kind: _Optional[str] = ..., kernels: _Optional[str] = ...) -> None: ...
