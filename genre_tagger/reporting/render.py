"""The page as HTML. All text is escaped; a policy in its head forbids the browser to load anything from outside."""

import base64
import hashlib
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from genre_tagger.reporting.view import Page

PACKAGE = "genre_tagger.reporting"


def render(page: Page) -> str:
    """The page, its style and its script in it; the script alone may run, known by its SHA-256."""
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
    """As a content security policy names it."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
