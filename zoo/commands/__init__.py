"""The command `zoo`: one file per verb, each with a click command named `command`.

At module level, a verb imports only click and the standard library, so that `zoo --help` is fast.
No verb imports another. Code that verbs share is in `_options`, `_console` and `_pictures`.
"""

import importlib
import io
import os
import shlex
import sys
import tempfile
import traceback

import click

from zoo.commands._console import (
    echo,
    messages_printed,
    output_error,
    protect_streams,
)
from zoo.errors import ZooError, command_line
from zoo.quiet import quiet_tensorflow

VERBS = (
    "list",
    "info",
    "train",
    "runs",
    "film",
    "sample",
    "complete",
    "interpolate",
    "reconstruct",
    "evaluate",
    "compare",
    "verify",
    "inspect",
    "features",
    "export",
    "data",
    "check",
    "plugins",
    "new-plugin",
)


class _Program(click.Group):
    """A group that imports each verb on first use and converts errors to exit codes."""

    def list_commands(self, ctx):
        return [*VERBS]

    def get_command(self, ctx, cmd_name):
        if cmd_name in VERBS:
            return importlib.import_module(f"zoo.commands.{cmd_name.replace('-', '_')}").command

    def main(self, *args, **settings):
        # TensorFlow reads this on import. The process that verifies an export shares the GPU.
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
        quiet_tensorflow()
        protect_streams()
        try:
            with command_line(), messages_printed():
                code = super().main(*args, **settings, prog_name="zoo", standalone_mode=False)
        except click.ClickException as error:
            error.message = " ".join(error.message.splitlines())  # a name may have several lines
            message = io.StringIO()
            error.show(message)
            echo(message.getvalue().rstrip(), err=True)
            code = error.exit_code
        except ZooError as error:
            echo(f"Error: {' '.join(str(error).splitlines())}", err=True)
            code = error.exit_code
        except (KeyboardInterrupt, click.Abort):
            echo("Interrupted.", err=True)
            code = 130
        except OSError as error:
            code = 2
            if error.filename is not None:
                echo(f"Error: Cannot access {error.filename}: {error.strerror}.", err=True)
            elif isinstance(error, FileNotFoundError):  # raised by os.getcwd
                echo(
                    "Error: The current folder no longer exists. Change to another folder.",
                    err=True,
                )
            else:
                _report_bug()
                code = 1
        except Exception:
            _report_bug()
            code = 1
        if not code and (error := output_error()):
            echo(f"Error: Cannot write to standard output: {error.strerror}.", err=True)
            code = 2
        sys.exit(code)


def _report_bug():
    report = traceback.format_exc()
    echo(report.rstrip(), err=True)
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="zoo-", suffix=".txt", delete=False, encoding="utf-8", errors="replace"
        ) as file:
            file.write(f"{shlex.join(sys.argv)}\nPython {sys.version}\n\n{report}")
        advice = f" Please report it and attach {file.name}, which contains the traceback."
    except OSError:
        advice = " Please report it with the traceback."
    echo(f"Error: This is a bug in zoo or in the model.{advice}", err=True)


@click.group(cls=_Program, commands=dict.fromkeys(VERBS))
@click.version_option(package_name="keras-genzoo")
def main():
    """A model zoo of generative models for TensorFlow and Keras.

    \b
    zoo train vae      train a model and export it as a SavedModel
    zoo runs           list the runs in this folder
    zoo sample RUN     generate a grid of images
    """  # noqa: D301
