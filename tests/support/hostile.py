"""Hostile SavedModels: edits of a real one, with checksums that are right."""

import copy
import hashlib
import json
import os

from google.protobuf import any_pb2
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.framework.types_pb2 import (
    DT_FLOAT,
    DT_INT32,
    DT_RESOURCE,
    DT_STRING,
    DT_VARIANT,
)
from tensorflow.core.protobuf import config_pb2

OPERATIONS = """
    AnonymousHashTable AudioMicrofrontend BigQueryReader CSVDatasetV2 CacheDatasetV2
    CollectiveReduceV2 ConfigureDistributedTPU CreateSummaryDbWriter CreateSummaryFileWriter
    DatasetFromGraph DatasetToGraphV2 DatasetToTFRecord DebugIdentityV2 DecodeWav EagerPyFunc
    FixedLengthRecordDatasetV2 FixedLengthRecordReaderV2 GenerateVocabRemapping HashTableV2
    ImmutableConst ImportEvent InitializeTableFromDatasetV2 InitializeTableFromTextFileV2
    LMDBDataset LMDBReader LoadAndRemapMatrix LoadDataset MatchingFiles MatchingFilesDataset
    MergeV2Checkpoints ParallelBatchDataset PrintV2 PyFunc PyFuncStateless ReadFile ReaderReadV2
    RegisterDatasetV2 RemoteCall RestoreSlice RestoreV2 RpcCall Save SaveDatasetV2 SaveSlices SaveV2
    SnapshotDatasetV2 SqlDataset TFRecordDatasetV2 TFRecordReaderV2 TextLineDataset
    TextLineReaderV2 WholeFileReaderV2 WriteFile WriteGraphSummary WriteRawProtoSummary XlaLaunch
""".split()  # noqa: SIM905


def endpoint(graph):
    """Returns the function of the method `sample`."""
    library = graph.graph_def.library.function
    return next(f for f in library if f.signature.name.startswith("__inference_endpoint"))


def saver(graph, kind):
    """Returns the function of the saver whose name contains "save" or "restore"."""
    return next(f for f in graph.graph_def.library.function if f"traced_{kind}" in f.signature.name)


def add_function(graph, name="nested"):
    function = graph.graph_def.library.function.add()
    function.signature.name = name
    return function


def add_call(nodes, op, *attributes, function="nested"):
    node = nodes.add(name=f"call_{len(nodes)}", op=op)
    for key in attributes:
        node.attr[key].func.name = function
    return node


def in_main_graph(graph):
    return graph.graph_def.node


def in_endpoint(graph):
    return endpoint(graph).node_def


def in_nested_function(graph):
    add_call(endpoint(graph).node_def, "StatefulPartitionedCall", "f")
    return add_function(graph).node_def


def in_a_body(graph):
    add_function(graph, "cond")
    node = add_call(endpoint(graph).node_def, "While", "body")
    node.attr["cond"].func.name = "cond"
    return add_function(graph).node_def


def in_a_condition(graph):
    add_function(graph, "body")
    node = add_call(endpoint(graph).node_def, "StatelessWhile", "cond")
    node.attr["body"].func.name = "body"
    return add_function(graph).node_def


def in_a_function_that_nobody_calls(graph):
    return add_function(graph).node_def


PLACES = [
    in_main_graph,
    in_endpoint,
    in_nested_function,
    in_a_body,
    in_a_condition,
    in_a_function_that_nobody_calls,
]


def add_operation(op, place):
    def edit(saved):
        place(saved.meta_graphs[0]).add(name="added", op=op)

    return edit


STRUCTURES = {}
"""{name: (function that edits a SavedModel, what the refusal names)}"""


def structure(reason):
    def register(edit):
        STRUCTURES[edit.__name__] = (lambda saved: edit(saved, saved.meta_graphs[0]), reason)
        return edit

    return register


# Graphs.


@structure("2 graphs")
def second_meta_graph(saved, graph):
    other = saved.meta_graphs.add()
    other.CopyFrom(graph)
    other.meta_info_def.tags[:] = ["other"]


@structure("0 graphs")
def no_meta_graph(saved, graph):
    del saved.meta_graphs[:]


@structure("schema version 2")
def other_schema(saved, graph):
    saved.saved_model_schema_version = 2


@structure("not tagged 'serve'")
def other_tag(saved, graph):
    graph.meta_info_def.tags.append("train")


@structure("written by TensorFlow 1")
def no_objects(saved, graph):
    graph.ClearField("object_graph_def")


@structure("'saved_model_assets'")
def collection_of_assets(saved, graph):
    graph.collection_def["saved_model_assets"].node_list.value.append("x")


@structure("any_list of CollectionDef")
def collection_of_any(saved, graph):
    graph.collection_def["legacy_init_op"].any_list.value.add(type_url="x")


def asset(filename):
    def edit(saved, graph):
        entry = graph.asset_file_def.add(filename=filename)
        entry.tensor_info.name = "Const:0"

    edit.__name__ = f"asset {filename}"
    structure("asset_file_def of MetaGraphDef")(edit)


for filename in ("/etc/passwd", "../../.ssh/id_rsa", "vocabulary.txt"):
    asset(filename)


@structure("signature sample")
def no_signature(saved, graph):
    del graph.signature_def["sample"]


# Fields.


@structure("the field 2047 of SavedModel")
def unknown_field(saved, graph):
    saved.MergeFromString(b"\xfa\x7f\x01x")


@structure("the field 2047 of NodeDef")
def unknown_field_of_a_node(saved, graph):
    endpoint(graph).node_def[0].MergeFromString(b"\xfa\x7f\x01x")


@structure("any_info of MetaInfoDef")
def any_info(saved, graph):
    graph.meta_info_def.any_info.CopyFrom(any_pb2.Any(type_url="x", value=b"x"))


@structure("defaults of SignatureDef")
def default_of_a_signature(saved, graph):
    graph.signature_def["sample"].defaults["seed"].dtype = DT_VARIANT


@structure("placeholder of AttrValue")
def placeholder(saved, graph):
    endpoint(graph).node_def[0].attr["x"].placeholder = "x"


@structure("attr of NameAttrList")
def attribute_of_a_call(saved, graph):
    call = next(n for n in graph.graph_def.node if n.op == "StatefulPartitionedCall")
    call.attr["f"].func.attr["T"].func.name = "WriteFile"


@structure("func of ListValue")
def list_of_functions(saved, graph):
    endpoint(graph).node_def[0].attr["branches"].list.func.add(name="nested")


@structure("tensor of ListValue")
def list_of_tensors(saved, graph):
    endpoint(graph).node_def[0].attr["x"].list.tensor.add(dtype=DT_FLOAT)


@structure("gradient of FunctionDefLibrary")
def gradient(saved, graph):
    graph.graph_def.library.gradient.add(function_name="a", gradient_func="b")


@structure("has the gradient 'none'")
def gradient_that_does_not_exist(saved, graph):
    graph.graph_def.library.registered_gradients.add(gradient_func="none")


@structure("variant_val of TensorProto")
def variant_in_a_constant(saved, graph):
    node = add_constant(endpoint(graph), DT_VARIANT)
    node.attr["value"].tensor.variant_val.add(type_name="tensorflow::DatasetVariant")


@structure("resource_handle_val of TensorProto")
def resource_in_a_constant(saved, graph):
    node = add_constant(endpoint(graph), DT_RESOURCE)
    node.attr["value"].tensor.resource_handle_val.add(container="x", name="y")


# Constants and sizes.


def add_constant(function, dtype, *shape, **values):
    node = function.node_def.add(name=f"added_{len(function.node_def)}", op="Const")
    tensor = node.attr["value"].tensor
    tensor.CopyFrom(tensor_pb2.TensorProto(dtype=dtype, **values))
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    return node


@structure("a constant of the type 21")
def empty_variant(saved, graph):
    add_constant(endpoint(graph), DT_VARIANT, 0)


@structure("a constant of the type 20")
def empty_resource(saved, graph):
    add_constant(endpoint(graph), DT_RESOURCE, 0)


@structure("constants have more than")
def huge_constant(saved, graph):
    add_constant(endpoint(graph), DT_FLOAT, 2**20, 2**20, float_val=[0.0])


@structure("constants have more than")
def huge_text(saved, graph):
    add_constant(endpoint(graph), DT_STRING, 2**30, string_val=[b"x"])


@structure("constants have more than")
def many_constants(saved, graph):
    for _ in range(20):
        add_constant(endpoint(graph), DT_FLOAT, 2**20, float_val=[0.0])


@structure("constants have more than")
def constant_of_many_axes(saved, graph):
    add_constant(endpoint(graph), DT_FLOAT, *[2**62] * 1000)


@structure("creates a huge tensor")
def huge_fill(saved, graph):
    size = add_constant(endpoint(graph), DT_INT32, 2, int_val=[2**20, 2**20])
    endpoint(graph).node_def.add(name="filled", op="Fill", input=[f"{size.name}:output:0", "x"])


@structure("creates a huge tensor")
def huge_noise(saved, graph):
    size = add_constant(endpoint(graph), DT_INT32, 1, tensor_content=b"\0\0\0\x7f")
    node = endpoint(graph).node_def.add(name="noise", op="StatelessRandomUniformFullIntV2")
    node.input.append(f"{size.name}:output:0")


@structure("a huge shape")
def huge_shape(saved, graph):
    node = next(n for n in graph.graph_def.node if n.op == "VarHandleOp")
    node.attr["shape"].shape.dim.add(size=2**40)


def variable(graph):
    return next(o for o in graph.object_graph_def.nodes if o.HasField("variable")).variable


@structure("bytes, and ")
def huge_variable(saved, graph):
    variable(graph).shape.dim[0].size = 2**50


@structure("a variable of an unknown shape or type")
def variable_of_text(saved, graph):
    variable(graph).dtype = DT_STRING


@structure("a variable of an unknown shape or type")
def variable_of_any_shape(saved, graph):
    variable(graph).shape.unknown_rank = True


# Functions.


@structure("has the name of the operation Neg")
def function_named_as_an_operation(saved, graph):
    add_function(graph, "Neg")


@structure("two functions have one name")
def function_twice(saved, graph):
    add_function(graph)
    add_function(graph)


@structure("two nodes are the node 'first'")
def node_twice(saved, graph):
    for _ in range(2):
        endpoint(graph).node_def.add(name="first", op="NoOp")


@structure("it calls 'nested', no function")
def call_of_nothing(saved, graph):
    add_call(endpoint(graph).node_def, "StatefulPartitionedCall", "f")


@structure("the operation 'nested'")
def function_as_an_operation(saved, graph):
    add_function(graph)
    endpoint(graph).node_def.add(name="added", op="nested")


@structure("calls itself")
def recursion(saved, graph):
    add_call(add_function(graph).node_def, "StatefulPartitionedCall", "f")


@structure("calls itself")
def recursion_of_two(saved, graph):
    add_call(add_function(graph, "a").node_def, "StatefulPartitionedCall", "f", function="b")
    add_call(add_function(graph, "b").node_def, "StatefulPartitionedCall", "f", function="a")


@structure("when functions are called")
def exponential_calls(saved, graph):
    for k in range(40):
        function = add_function(graph, f"f{k}")
        for _ in range(2):
            add_call(function.node_def, "StatefulPartitionedCall", "f", function=f"f{k + 1}")
    add_function(graph, "f40").node_def.add(name="x", op="NoOp")


@structure("has the attribute 'api_implements'")
def attribute_of_a_function(saved, graph):
    endpoint(graph).attr["api_implements"].s = b"x"


@structure("the device '/job:worker/task:1'")
def device(saved, graph):
    endpoint(graph).node_def[0].device = "/job:worker/task:1"


@structure("cluster_def of ConfigProto")
def configuration(saved, graph):
    config = config_pb2.ConfigProto()
    config.cluster_def.job.add(name="worker").tasks[0] = "example.org:1"
    call = next(n for n in graph.graph_def.node if n.op == "StatefulPartitionedCall")
    call.attr["config_proto"].s = config.SerializeToString()


@structure("a damaged configuration")
def configuration_that_is_none(saved, graph):
    call = next(n for n in graph.graph_def.node if n.op == "StatefulPartitionedCall")
    call.attr["config_proto"].s = b"\xff"


# The saver.


def node_of(function, op):
    return next(node for node in function.node_def if node.op == op)


@structure("of the saver uses another path")
def saving_elsewhere(saved, graph):
    function = saver(graph, "save")
    path = add_constant(function, DT_STRING, string_val=[b"/tmp/x"])
    node_of(function, "SaveV2").input[0] = f"{path.name}:output:0"


@structure("of the saver uses another path")
def saving_above(saved, graph):
    for node in saver(graph, "save").node_def:
        if b".part" in node.attr["value"].tensor.string_val:
            node.attr["value"].tensor.string_val[:] = [b"/../../../x"]


@structure("of the saver uses another path")
def joining_elsewhere(saved, graph):
    function = saver(graph, "save")
    path = add_constant(function, DT_STRING, string_val=[b"/tmp/x"])
    node_of(function, "StringJoin").input[0] = f"{path.name}:output:0"


@structure("of the saver uses another path")
def merging_elsewhere(saved, graph):
    function = saver(graph, "save")
    path = add_constant(function, DT_STRING, string_val=[b"/tmp/x"])
    node_of(function, "MergeV2Checkpoints").input[1] = f"{path.name}:output:0"


@structure("of the saver uses another path")
def merging_others(saved, graph):
    function = saver(graph, "save")
    path = add_constant(function, DT_STRING, string_val=[b"/tmp/x"])
    node_of(function, "Pack").input[0] = f"{path.name}:output:0"


@structure("of the saver uses another path")
def restoring_from_elsewhere(saved, graph):
    function = saver(graph, "restore")
    path = add_constant(function, DT_STRING, string_val=[b"/etc/passwd"])
    node_of(function, "RestoreV2").input[0] = f"{path.name}:output:0"


@structure("the path of its saver is no argument")
def constant_path(saved, graph):
    node = next(n for n in graph.graph_def.node if n.name == "saver_filename")
    node.op = "Const"
    node.attr["value"].tensor.CopyFrom(
        tensor_pb2.TensorProto(dtype=DT_STRING, string_val=[b"/tmp/x"])
    )


@structure("is called by others")
def call_of_the_saver(saved, graph):
    name = saver(graph, "save").signature.name
    add_call(endpoint(graph).node_def, "StatefulPartitionedCall", "f", function=name)


@structure("of the saver is an object")
def saver_as_an_object(saved, graph):
    name = saver(graph, "save").signature.name
    entry = next(o for o in graph.object_graph_def.nodes if o.HasField("bare_concrete_function"))
    entry.bare_concrete_function.concrete_function_name = name


@structure("has the gradient ")
def saver_as_a_gradient(saved, graph):
    name = saver(graph, "save").signature.name
    graph.graph_def.library.registered_gradients.add(gradient_func=name)


@structure("outside the saver")
def no_saver(saved, graph):
    graph.ClearField("saver_def")


@structure("is no call with its path")
def saver_with_another_path(saved, graph):
    name = graph.saver_def.restore_op_name
    next(n for n in graph.graph_def.node if n.name == name).input[0] = "Const"


@structure("is no call with its path")
def saver_that_is_no_call(saved, graph):
    graph.saver_def.restore_op_name = "NoOp"


# Objects, which TensorFlow creates when it loads the file.


def add_object(graph, **kind):
    return graph.object_graph_def.nodes.add(**kind)


for field in ("asset", "resource", "constant", "function"):

    def kind_of_object(saved, graph, field=field):
        getattr(add_object(graph), field).SetInParent()

    kind_of_object.__name__ = f"object of kind {field}"
    structure(f"{field} of SavedObject")(kind_of_object)


@structure("initializer of SavedObject|resource of SavedObject")
def initializer_that_runs_at_load(saved, graph):
    table = add_object(graph)
    table.resource.device = ""
    for k, name in enumerate(("_create_resource", "_initialize")):
        table.children.add(node_id=k, local_name=name)


@structure("of the type '_tf_keras_model'")
def keras_object(saved, graph):
    add_object(graph).user_object.identifier = "_tf_keras_model"


@structure("metadata of SavedUserObject")
def keras_metadata(saved, graph):
    graph.object_graph_def.nodes[0].user_object.metadata = '{"class_name": "Lambda"}'


@structure("saveable_objects of SavedObject")
def saveable(saved, graph):
    graph.object_graph_def.nodes[0].saveable_objects["x"].save_function = 1


@structure("registered_saver of SavedObject")
def registered_saver(saved, graph):
    graph.object_graph_def.nodes[0].registered_saver = "x"


@structure("registered_name of SavedObject")
def registered_name(saved, graph):
    graph.object_graph_def.nodes[0].registered_name = "x"


@structure("serialized_user_proto of SavedObject")
def serialized_user_proto(saved, graph):
    graph.object_graph_def.nodes[0].serialized_user_proto.type_url = "x"


@structure("is of no kind")
def object_of_no_kind(saved, graph):
    add_object(graph)


@structure("a child that does not exist")
def child_that_does_not_exist(saved, graph):
    graph.object_graph_def.nodes[0].children.add(node_id=10**6, local_name="x")


@structure("a child of the name '__class__'")
def child_with_a_special_name(saved, graph):
    graph.object_graph_def.nodes[0].children.add(node_id=1, local_name="__class__")


@structure("'none' is no function")
def object_of_no_function(saved, graph):
    graph.object_graph_def.concrete_functions["none"].SetInParent()


@structure("an input that does not exist")
def input_that_does_not_exist(saved, graph):
    next(iter(graph.object_graph_def.concrete_functions.values())).bound_inputs.append(-1)


@structure("type_spec_value of StructuredValue")
def type_of_a_python_class(saved, graph):
    function = next(iter(graph.object_graph_def.concrete_functions.values()))
    function.output_signature.type_spec_value.type_spec_class_name = "os.system"


# Folders.


FOLDERS = {}
"""{name: (function that edits a folder with a valid card, what the refusal names)}"""


def folder(reason):
    def register(edit):
        FOLDERS[edit.__name__] = (edit, reason)
        return edit

    return register


def edit_card(path, **values):
    card = json.loads((path / "card.json").read_text())
    card["files"] |= values
    (path / "card.json").write_text(json.dumps(card))


def outside(path, text="import os"):
    """Writes a file beside a folder, and returns its path and sha256."""
    other = path.with_name("outside.txt")
    other.write_text(text)
    return other, hashlib.sha256(text.encode()).hexdigest()


for name in ("saved_model.pbtxt", "saved_model.cpb", "model.py", "assets/vocabulary.txt"):

    def unlisted(path, name=name):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text("x")

    unlisted.__name__ = f"{name} beside the graph"
    folder(f"{name} is not listed in card.json")(unlisted)


@folder("saved_model.pb is a symbolic link")
def linked_graph(path):
    (path / "saved_model.pb").rename(path.with_name("other.pb"))
    (path / "saved_model.pb").symlink_to("../other.pb")


@folder("variables is a symbolic link")
def linked_variables(path):
    (path / "variables").rename(path.with_name("other"))
    (path / "variables").symlink_to("../other")


@folder("card.json is a symbolic link")
def linked_card(path):
    (path / "card.json").rename(path.with_name("other.json"))
    (path / "card.json").symlink_to("../other.json")


@folder("samples.png is not a regular file")
def pipe(path):
    (path / "samples.png").unlink()
    os.mkfifo(path / "samples.png")


@folder("lists a file outside its folder: '../outside.txt'")
def listed_above(path):
    edit_card(path, **{"../outside.txt": outside(path)[1]})


@folder("lists a file outside its folder: '/")
def listed_elsewhere(path):
    other, value = outside(path)
    edit_card(path, **{str(other): value})


@folder("variables/../../outside.txt'|outside its folder")
def listed_through_a_folder(path):
    edit_card(path, **{"variables/../../outside.txt": outside(path)[1]})


@folder("none.txt is missing")
def listed_but_missing(path):
    edit_card(path, **{"none.txt": "0" * 64})


@folder("saved_model.pb is not listed")
def unlisted_graph(path):
    card = json.loads((path / "card.json").read_text())
    del card["files"]["saved_model.pb"]
    (path / "card.json").write_text(json.dumps(card))


@folder("golden.npz is damaged")
def changed_file(path):
    (path / "golden.npz").write_bytes(b"PK")


@folder("card.json is damaged")
def nested_card(path):
    (path / "card.json").write_text("[" * 100_000)


@folder("more than 1,000 files")
def many_files(path):
    for k in range(1001):
        (path / f"{k}").touch()


def edited(saved, edit):
    """Returns the content of a graph file after an edit of a copy of its message."""
    other = copy.deepcopy(saved)
    edit(other)
    return other.SerializeToString()


def seal(path, name="saved_model.pb"):
    """Makes the checksum of a file in a card right, as an attacker can."""
    edit_card(path, **{name: hashlib.sha256((path / name).read_bytes()).hexdigest()})
