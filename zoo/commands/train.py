"""`zoo train NAME`: from a name to a SavedModel."""

import shlex
import signal
import sys
import tempfile
from pathlib import Path

import click

from zoo.commands import as_argument, as_typed, complete_model, print_table, quiet_tensorflow
from zoo.errors import InputError

PRECISIONS = ("auto", "float32", "bfloat16")
FEW_STEPS = 500


@click.command()
@click.argument("name", required=False, shell_complete=complete_model)
@click.option("--data", help="Name of a data set (zoo data), or path of a folder, .npz or .npy.")
@click.option("--size", type=click.IntRange(1, 4096), help="Resize the images to SIZE x SIZE.")
@click.option("--binarize", is_flag=True, default=None, help="Draw grey images as binary ones.")
@click.option("--conditional", is_flag=True, help="Train with the labels of the data.")
@click.option("--set", "settings", multiple=True, metavar="K=V", help="A model option: zoo info.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training data.")
@click.option("--batch-size", type=click.IntRange(1), help="Images in a step.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="Default: 0.")
@click.option(
    "--run",
    metavar="DIR",
    type=click.Path(),
    help="Folder of the run. Default: runs/TIME-NAME-DATA.",
)
@click.option(
    "--resume", metavar="RUN", type=click.Path(), help="Go on with a run, by its own recipe."
)
@click.option("--precision", type=click.Choice(PRECISIONS), help="Default: auto, as the run began.")
@click.option("--jit/--no-jit", default=None, help="Compile with XLA. Default: on a GPU.")
@click.option("--deterministic", is_flag=True, help="Bit-equal on a GPU too, but slower.")
@click.option("--dry-run", is_flag=True, help="Do one step of everything, keep nothing.")
def command(name, resume, run, precision, jit, deterministic, dry_run, **asked):
    """Train a model, and save it as a SavedModel.

    \b
    zoo train vae
    zoo train vae --data ./photos --size 32 --set latent_dim=64
    zoo train --resume runs/20260101-120000-vae-mnist_binary

    Ctrl-C stops after the step, saves, and says how to go on.
    """  # noqa: D301
    from zoo import datasets, registry
    from zoo.runs import read_run

    if name is None and resume is None:
        raise click.UsageError("Give the NAME of a model (zoo list), or --resume RUN (zoo runs).")
    if resume and run:
        raise click.UsageError("--resume RUN names the folder already: leave out --run.")
    if resume and dry_run:
        raise click.UsageError("--dry-run keeps nothing, so it has nothing to --resume.")
    if name:
        name = registry.find(name).address
    begun = read_run(resume) if resume else {"recipe": {"model": name, "seed": 0}}
    saved = begun["recipe"]
    quiet_tensorflow()
    import keras
    import tensorflow as tf

    from zoo import training

    if deterministic:
        tf.config.experimental.enable_op_determinism()
    if name and name != saved["model"]:
        raise InputError(f"{resume} is a run of {saved['model']}. Received: {name!r}")
    cls = registry.load(saved["model"])
    recipe = {**cls.recipe, **saved, **_given(asked, "epochs", "batch_size", "seed")}
    lacking = {"data", "epochs", "batch_size"} - {*recipe, *_given(asked, "data")}
    if lacking:
        ways = " ".join(f"--{name.replace('_', '-')} …" for name in sorted(lacking))
        raise InputError(f"{cls.__name__}.recipe does not say all: add {ways}")
    # What can be refused without the data is, before they are loaded.
    if resume:
        training.check_recipe(saved, {**recipe, "batch_size": saved["batch_size"]})
    settings = registry.parse_options(cls, asked["settings"])
    if asked["conditional"] and "num_classes" not in {o.name for o in registry.options(cls)}:
        raise InputError(f"{cls.__name__} cannot be conditional: leave out --conditional.")
    if run:
        training.check_new(Path(run))
    data = datasets.load_dataset(**_source(recipe.get("data"), asked))
    click.echo(datasets.describe(data))
    options = {
        **saved.get("options", {}),
        **_from_data(data[0], asked["conditional"]),
        **settings,
    }
    keras.utils.set_random_seed(recipe["seed"])
    keras.config.set_dtype_policy(_policy(precision, begun.get("environment", {})))
    model = registry.create(saved["model"], **options)

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(
            f"{scratch}/run" if dry_run else resume or run or _folder(saved["model"], data[0])
        )
        if jit is None and resume:
            jit = begun["environment"]["jit"]
        total = _print_plan(model, recipe, data[0], folder, jit, dry_run)
        with _Display() as display:
            try:
                exported = training.train(
                    model,
                    data,
                    folder,
                    epochs=recipe["epochs"],
                    batch_size=recipe["batch_size"],
                    seed=recipe["seed"],
                    resume=bool(resume),
                    jit=jit,
                    name=recipe["model"],
                    command=as_typed(),
                    callbacks=[display.callback(total)],
                    say=display.say,
                    dry_run=dry_run,
                )
            except training.Interrupted as stopped:
                again = f"--resume {shlex.quote(str(folder))}"
                again += " --deterministic" if deterministic else ""
                display.say(f"Saved step {stopped.step:,}. Go on with: zoo train {again}")
                sys.exit(130 if stopped.number == signal.SIGINT else 143)
        _print_end(exported, data[2], folder, dry_run)


def _given(asked, *names):
    return {name: asked[name] for name in names if asked[name] is not None}


def _source(data, asked):
    """Says which data: the recipe's, a name or what a run recorded, changed by what was asked."""
    recorded = data if isinstance(data, dict) else {"name": data}
    source = {key: recorded[key] for key in ("name", "size", "binarize") if key in recorded}
    if asked["data"] is not None:
        source["name"] = asked["data"]
    return source | _given(asked, "size", "binarize")


def _from_data(split, conditional):
    """Returns the options that come from the data."""
    options = {"shape": split.shape, "levels": split.levels}
    if conditional and not split.num_classes:
        raise InputError(f"--conditional needs labels, and {split.name} has none.")
    return {**options, "num_classes": split.num_classes} if conditional else options


def _policy(precision, begun):
    """Returns the Keras policy: as the run began, else bfloat16 where it is the faster."""
    import tensorflow as tf

    if precision is None and begun:
        return begun["precision"]
    if precision in (None, "auto"):
        gpus = tf.config.list_physical_devices("GPU")
        if gpus:
            details = tf.config.experimental.get_device_details(gpus[0])
            fast = details.get("compute_capability", (0,)) >= (8, 0)
        else:
            fast = _cpu_has_amx()
        precision = "bfloat16" if fast else "float32"
    return "mixed_bfloat16" if precision == "bfloat16" else "float32"


def _cpu_has_amx():
    """Returns whether products of bfloat16 matrices are faster than those of float32."""
    info = Path("/proc/cpuinfo")  # not there on macOS and Windows: float32
    flags = (
        info.read_text().partition("flags")[2].partition("\n")[0].split() if info.exists() else []
    )
    return "amx_bf16" in flags


def _folder(model, split):
    """Names a new run: runs/20260101-120000-vae-mnist_binary."""
    import time

    name = f"{model.rpartition(':')[2].lower()}-{split.name}"
    return f"runs/{time.strftime('%Y%m%d-%H%M%S')}-{'-'.join(name.split())}"


def _print_plan(model, recipe, split, folder, jit, dry_run):
    """Says what will be done; returns the number of steps."""
    import shutil

    from zoo import training

    parameters = sum(w.shape.num_elements() for w in model.trainable_variables)
    batch_size = min(recipe["batch_size"], len(split))
    steps, epochs = len(split) // batch_size, recipe["epochs"]
    there = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(there).free
    # 4 checkpoints at a time, of the weights, their average and 2 slots of Adam.
    disk = 4 * 4 * 4 * parameters + 2**20
    about = training.environment(model)
    compiled = model.jit_compile if jit is None else jit
    work = f"{epochs:,} epoch{'s'[: epochs > 1]} of {steps:,} steps of {batch_size} images"
    kept = f"{folder}, about {disk >> 20} MB of disk ({free >> 30} GB are free)"
    print_table(
        [
            ("model", f"{recipe['model']}, {parameters:,} parameters to train"),
            ("train", f"one step of everything, not {work}" if dry_run else work),
            ("device", about["device"]),
            ("precision", f"{about['precision']}, jit {'on' if compiled else 'off'}"),
            ("run", "nothing is kept" if dry_run else kept),
        ]
    )
    if not dry_run and steps * epochs < FEW_STEPS:
        click.echo(
            f"These are {steps * epochs:,} steps in all, too few to learn much: try"
            f" --epochs {-(-FEW_STEPS // steps):,} or a smaller --batch-size."
        )
    if disk > free:
        raise InputError(
            f"Expected {disk >> 20} MB of free disk in {there}. Received: {free >> 20} MB"
        )
    return 1 if dry_run else epochs * steps


def _print_end(exported, test, folder, dry_run):
    """Prints a line each: the score, where the SavedModel is, how to sample it."""
    from zoo import saving
    from zoo.evaluation.likelihood import log_likelihood

    model = saving.load(exported)
    score = "not defined without a likelihood; zoo evaluate compares samples with images"
    if "log_prob" in model.card["can"]:
        found = log_likelihood(model, test, limit=500 if dry_run else None)
        saving.add_score(exported, found)
        score = describe_score(found)
    if dry_run:
        print_table([("score", score)])
        click.echo("Dry run: one step of everything went well; nothing was kept.")
        return
    size = model.card["bytes"] / 1e6
    print_table(
        [
            ("score", score),
            ("model", f"{exported} ({size:.1f} MB; {model.card['ms_per_image']} ms an image)"),
            ("sample", f"zoo sample {as_argument(folder)}"),
        ]
    )


def describe_score(score):
    """Writes a score for people, in one line."""
    from zoo.commands.evaluate import cells

    metric, value, _, on = cells(score)
    return f"{metric} {value} on {on}"


class _Display:
    """Live lines of progress on a terminal; elsewhere the lines that `say` is given, alone."""

    def __init__(self, console=None):
        from rich.console import Console

        self.console = console or Console(highlight=False, soft_wrap=True)

    def __enter__(self):
        from rich import progress

        class Lines(progress.Progress):
            """The progress, and below it the losses, for which a narrow terminal has no room."""

            def get_renderables(self):
                yield self.make_tasks_table(self.tasks)
                yield from (task.fields["losses"] for task in self.tasks)

        self.progress = Lines(
            progress.BarColumn(24),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[speed]}"),
            progress.TimeRemainingColumn(),
            console=self.console,
            refresh_per_second=4,
            speed_estimate_period=120,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self.progress.start()
        return self

    def __exit__(self, *error):
        self.progress.stop()

    def say(self, text):
        """Prints a line, above the progress if there is any."""
        self.console.print(text, markup=False)
        sys.stdout.flush()

    def callback(self, total):
        """Makes the Keras callback that moves the progress on, to total steps."""
        import keras

        display = self.progress

        class Show(keras.callbacks.Callback):
            task = None

            def on_epoch_begin(self, epoch, logs=None):
                if self.task is None:
                    step = int(self.model.step)
                    self.task = display.add_task(
                        "", total=total, completed=step, losses="", speed=""
                    )

            def on_train_batch_end(self, batch, logs=None):
                losses = "  ".join(f"{key} {value:.4g}" for key, value in logs.items())
                speed = display.tasks[0].speed
                speed = f"{speed:.1f} steps/s" if speed else ""
                display.update(self.task, advance=1, losses=losses, speed=speed)

        return Show()
