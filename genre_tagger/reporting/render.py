"""Rendering of the HTML report. All text is escaped, and a content security policy blocks all external resources."""

import base64
import hashlib
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from genre_tagger.reporting.content import ReportPage

PACKAGE = "genre_tagger.reporting"


def render(page: ReportPage) -> str:
    """Return the HTML report, with its style sheet and its script.

    The content security policy allows only this script to run, by its SHA-256.
    """
    environment = Environment(
        loader=PackageLoader(PACKAGE, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = _own_file("page.js")
    return environment.get_template("page.html.jinja").render(
        page=page, style=_own_file("page.css"), script=script, script_hash=_sha256(script)
    )


def _own_file(name: str) -> Markup:
    return Markup((resources.files(PACKAGE) / name).read_text(encoding="utf-8"))


def _sha256(script: str) -> str:
    """Return the hash of a script in the form that a content security policy uses."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
