"""Writes what `zoo.exports.inspection` accepts in a SavedModel: operations and fields.

    python benchmarks/allow_list.py

zoo/exports/operations.txt       operations in the exports of all first-party models, in the toys of
                                 the tests and in common layers of Keras, and those in `MATHEMATICS`
zoo/exports/saved_model.schema   the messages of a SavedModel, reduced to the fields in `FIELDS`: a
                                 serialized FileDescriptorProto

Read every operation that the script adds: it may touch no file, network, Python, or graph that is
hidden in a tensor. `tests/exports/test_inspection.py` checks the operations of the
pretrained models and the schema against both files.
"""

import importlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import tensorflow as tf
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from tensorflow.core.protobuf import config_pb2, saved_model_pb2

import zoo

ROOT = Path(__file__).parents[1]
OPERATIONS = ROOT / "zoo/exports/operations.txt"
SCHEMA = ROOT / "zoo/exports/saved_model.schema"

# Files of first-party models.
PLACES = [ROOT / "tests", *sorted(ROOT.glob("plugins/*/"))]
MODULES = [
    "support.toys",
    "support.noisy",
    *(f"zoo.models.{path.stem}" for path in sorted(ROOT.glob("zoo/models/[a-z]*.py"))),
    *(f"{p.parent.name}.{p.stem}" for p in sorted(ROOT.glob("plugins/*/zoo_*/[a-z]*.py"))),
]

# What authors are likely to use.
ACTIVATIONS = """
    celu elu exponential gelu hard_sigmoid hard_silu leaky_relu linear log_sigmoid log_softmax mish
    relu relu6 selu sigmoid silu softmax softplus softsign tanh
"""
OPERATIONS_OF_KERAS = """
    abs all any argmax argmin argsort arctan ceil cos cumprod cumsum erf erfinv exp expm1 flip floor
    isfinite log log1p logsumexp max mean min negative prod round rsqrt sign sin sinh sort sqrt
    square std sum tan transpose var zeros_like
"""

# Further operations that compute tensors from tensors and variables, and nothing else.
MATHEMATICS = """
    Acos Acosh AddN Asin Asinh Atan2 Atanh Betainc BitwiseOr BitwiseXor BroadcastTo Bucketize
    Cholesky ClipByValue Complex ComplexAbs Conj Cosh Cross DenseBincount Diag DiagPart Digamma
    DivNoNan EuclideanNorm FFT FFT2D FloorDiv FloorMod GatherNd IFFT IFFT2D IRFFT IRFFT2D If Igamma
    Igammac Imag Inv Invert InvertPermutation IsInf L2Loss LeftShift Lgamma LinSpace
    LogMatrixDeterminant LogicalNot LogicalOr LowerBound MatrixDeterminant MatrixSetDiagV3
    MatrixSolve MatrixTriangularSolve MirrorPad Mod NotEqual Polygamma Qr RFFT RFFT2D Rank Real
    Reciprocal ResizeArea ResizeNearestNeighbor ResourceGather ResourceGatherNd Rint Roll ScatterNd
    SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum SelfAdjointEigV2 Size
    StatelessIf StatelessMultinomial StatelessRandomGetKeyCounter StatelessRandomNormalV2
    StatelessRandomUniformIntV2 StatelessRandomUniformV2 StatelessTruncatedNormalV2 Svd
    TensorListConcatV2 TensorListLength TensorListPopBack TensorListPushBack TensorScatterAdd
    TensorScatterMax TensorScatterMin TensorScatterSub TensorScatterUpdate TruncateDiv TruncateMod
    Unique UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum Where Xdivy
    Xlog1py Xlogy Zeta
"""

# The fields that are kept of a message. Of a message that is not listed, all are.
FIELDS = {
    "SavedModel": "saved_model_schema_version meta_graphs",
    "MetaGraphDef": "meta_info_def graph_def saver_def collection_def signature_def"
    " object_graph_def",
    "MetaGraphDef.MetaInfoDef": "stripped_op_list tags tensorflow_version tensorflow_git_version"
    " stripped_default_attrs",
    "OpDef.AttrDef": "name type default_value description has_minimum minimum allowed_values",
    "AttrValue": "s i f b type shape tensor list func",
    "AttrValue.ListValue": "s i f b type shape",
    "NameAttrList": "name",
    "TensorProto": "dtype tensor_shape tensor_content half_val float_val double_val int_val"
    " string_val int64_val bool_val uint32_val uint64_val",
    "ResourceHandleProto.DtypeAndShape": "dtype shape",
    "ResourceHandleProto": "",
    "GraphDef": "node versions library",
    "NodeDef": "name op input device attr experimental_type",
    "FunctionDefLibrary": "function registered_gradients",
    "SaverDef": "filename_tensor_name save_tensor_name restore_op_name version",
    "CollectionDef": "node_list",
    "SignatureDef": "inputs outputs method_name",
    "TensorInfo": "name dtype tensor_shape",
    "StructuredValue": "none_value float64_value int64_value string_value bool_value"
    " tensor_shape_value tensor_dtype_value tensor_spec_value list_value tuple_value dict_value"
    " named_tuple_value",
    "SavedObject": "children user_object variable bare_concrete_function captured_tensor",
    "SavedUserObject": "identifier version",
    "SavedVariable": "dtype shape trainable synchronization aggregation name",
    "TrackableObjectGraph": "",
    "TrackableObjectGraph.TrackableObject": "",
    # TensorFlow stores the configuration of devices in each call of a function.
    "ConfigProto": "device_count gpu_options allow_soft_placement experimental"
    " pluggable_device_options",
    "ConfigProto.Experimental": "",
    "GPUOptions": "allow_growth visible_device_list experimental",
    "GPUOptions.Experimental": "",
}


def schema() -> bytes:
    """Returns a serialized FileDescriptorProto of the messages of a SavedModel.

    A field that is left out is reserved, so that it can be named. Enumerations are integers.
    """
    file = FileDescriptorProto(name="saved_model.proto", package="tensorflow", syntax="proto3")
    messages = {}

    def add(descriptor):
        """Adds a message, those that contain it, and those of its fields."""
        name = descriptor.full_name.removeprefix("tensorflow.")
        if name in messages:
            return messages[name]
        parent = add(descriptor.containing_type).nested_type if descriptor.containing_type else None
        message = (file.message_type if parent is None else parent).add(name=descriptor.name)
        messages[name] = message
        whole = DescriptorProto()
        descriptor.CopyToProto(whole)
        if whole.options.map_entry:
            message.options.map_entry = True
        names = {field.name for field in whole.field}
        kept = {*FIELDS[name].split()} if name in FIELDS else names
        if missing := kept - names:
            raise ValueError(f"{name} has no {', '.join(sorted(missing))}.")
        oneofs = {}
        for field in sorted(whole.field, key=lambda field: field.number):
            if field.name not in kept:
                message.reserved_name.append(field.name)
                message.reserved_range.add(start=field.number, end=field.number + 1)
                continue
            copy = message.field.add(
                name=field.name, number=field.number, label=field.label, type=field.type
            )
            if field.options.HasField("packed"):
                copy.options.packed = field.options.packed
            if field.type == field.TYPE_MESSAGE:
                copy.type_name = field.type_name
                add(descriptor.fields_by_name[field.name].message_type)
            elif field.type == field.TYPE_ENUM:
                copy.type = FieldDescriptorProto.TYPE_INT32
            if field.HasField("oneof_index"):
                choice = whole.oneof_decl[field.oneof_index].name
                if choice not in oneofs:
                    oneofs[choice] = len(oneofs)
                    message.oneof_decl.add(name=choice)
                copy.oneof_index = oneofs[choice]
        return message

    add(saved_model_pb2.SavedModel.DESCRIPTOR)
    add(config_pb2.ConfigProto.DESCRIPTOR)
    return file.SerializeToString(deterministic=True)


def operations() -> set[str]:
    """Returns the names of the operations in exports of models and in functions of Keras."""
    from zoo.exports.inspection import GRAPH, SAVER, inspect

    names = {name for function, shape in functions() for name in traced(function, shape)}
    for path in saved_models():
        names |= {*inspect(path).operations}
    with tempfile.TemporaryDirectory() as folder:
        for k, (model, half) in enumerate(models()):
            print(f"{type(model).__name__} of {model.spec}, {model.condition}", flush=True)
            path = zoo.export(model, Path(folder, str(k)), half=half)
            names |= {*inspect(path / GRAPH).operations}
    return (names | {*MATHEMATICS.split()}) - SAVER


def saved_models() -> Iterator[Path]:
    """Yields the graph files of the pretrained models and classifiers of the repository."""
    yield from sorted(ROOT.glob("saved_models/*/saved_model.pb"))
    yield from sorted(ROOT.glob("plugins/*/*/saved_models/*/saved_model.pb"))


def models() -> Iterator[tuple[zoo.GenerativeModel, bool]]:
    """Yields small models of every class for every kind of data that they take."""
    label = zoo.Spec((), 3, "label")
    image = zoo.Spec((8, 8, 1), 2)
    data = [
        (image, None),
        (image, image),
        (image, zoo.Spec((8, 8, 1), 2, "domain")),
        (zoo.Spec((8, 8, 3), 256), label),
        (zoo.Spec((12,), 5, "tokens"), None),
        (zoo.Spec((16, 1), 256, "audio", rate=8000), None),
        (zoo.Spec((16, 1), 0, "audio", rate=8000), None),
    ]
    for name in MODULES:
        module = importlib.import_module(name)
        for cls in vars(module).values():
            if not (isinstance(cls, type) and issubclass(cls, zoo.GenerativeModel)):
                continue
            if cls.__module__ != name:
                continue
            half = True
            for spec, condition in data:
                given = {} if condition is None else {"condition": condition}
                try:
                    model = cls(spec, **given)
                except (TypeError, ValueError):  # for other data, or of another model
                    continue
                yield model, half
                half = False


def functions() -> Iterator[tuple[Callable, list[int]]]:
    """Yields functions of Keras that models are made of, and the shape of what they take."""
    layers = keras.layers
    for name in ACTIVATIONS.split():
        yield getattr(keras.activations, name), [2, 8]
    for name in OPERATIONS_OF_KERAS.split():
        yield getattr(keras.ops, name), [2, 8]
    for cls in (layers.LayerNormalization, layers.RMSNormalization, layers.UnitNormalization):
        yield cls(), [2, 8]
    for cls in (layers.LSTM, layers.GRU, layers.SimpleRNN):
        yield cls(3), [2, 4, 8]
        yield cls(3, return_sequences=True, go_backwards=True), [2, 4, 8]
    for axes in (1, 2, 3):
        shape = [2, *[8] * axes, 4]
        yield getattr(layers, f"Conv{axes}D")(3, 3, padding="same", strides=2), shape
        yield getattr(layers, f"Conv{axes}DTranspose")(3, 3, padding="same", strides=2), shape
        yield getattr(layers, f"MaxPooling{axes}D")(2), shape
        yield getattr(layers, f"AveragePooling{axes}D")(2), shape
        yield getattr(layers, f"GlobalMaxPooling{axes}D")(), shape
        yield getattr(layers, f"GlobalAveragePooling{axes}D")(), shape
        for kind in ("UpSampling", "ZeroPadding", "Cropping"):
            yield getattr(layers, f"{kind}{axes}D")(), shape
    image = [2, 8, 8, 4]
    for kind in ("bilinear", "nearest", "bicubic"):
        yield layers.UpSampling2D(interpolation=kind), image
    yield layers.Conv1D(3, 3, padding="causal", dilation_rate=2), [2, 8, 4]
    yield layers.DepthwiseConv2D(3), image
    yield layers.SeparableConv2D(3, 3), image
    yield layers.BatchNormalization(), image
    yield layers.GroupNormalization(2), image
    yield layers.PReLU(), image
    attention = layers.MultiHeadAttention(2, 4)
    yield lambda x: attention(x, x, use_causal_mask=True), [2, 4, 8]
    embedding = layers.Embedding(8, 4)
    yield lambda x: embedding(keras.ops.cast(x, "int32")), [2, 8]
    yield lambda x: keras.ops.einsum("ij,kj->ik", x, x), [2, 8]
    yield lambda x: keras.ops.top_k(x, 2), [2, 8]
    yield lambda x: keras.ops.where(keras.ops.isnan(x), 0.0, x), [2, 8]


def traced(function, shape) -> set[str]:
    """Returns the names of the operations in the graph of a function of float32 of a shape."""
    graph = tf.function(function, autograph=False).get_concrete_function(
        tf.TensorSpec([None, *shape[1:]], tf.float32)
    )
    definition = graph.graph.as_graph_def()
    nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
    return {node.op for node in nodes}


if __name__ == "__main__":
    sys.path += map(str, PLACES)
    SCHEMA.write_bytes(schema())
    before = {*OPERATIONS.read_text().split()}
    after = operations()
    OPERATIONS.write_text("".join(f"{name}\n" for name in sorted(after)))
    print(f"New: {', '.join(sorted(after - before))}\nGone: {', '.join(sorted(before - after))}")
