"""An MkDocs hook for pages that are generated from code, and for pages outside docs/."""

import posixpath
import re
from pathlib import Path

from command_pages import command_pages
from config_fields import field_tables
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
AT_THE_TOP = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}  # page: file of the checkout
FIELDS = "<!-- fields -->"
PARENT_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((\.\./[^)]*)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the commands in the navigation, in the order of `genre-tagger --help`."""
    commands = next(entry["Commands"] for entry in config.nav if "Commands" in entry)
    commands += [{name: f"commands/{name}.md"} for name in command_pages()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page of each command, and the pages that GitHub expects at the top of the checkout."""
    for name, text in command_pages().items():
        files.append(File.generated(config, f"commands/{name}.md", content=text))
    for page, file in AT_THE_TOP.items():
        text = (ROOT / file).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Insert the fields of the configuration, and point links to files outside docs/ to their pages.

    A link to a file that is not part of the site is replaced by its text.
    """
    if FIELDS in markdown:
        markdown = markdown.replace(FIELDS, field_tables())
    for name, file in AT_THE_TOP.items():
        markdown = markdown.replace(f"](../{file}", f"]({name}")
    folder = posixpath.dirname(page.file.src_uri)
    return PARENT_LINK.sub(lambda link: _within_docs(link, folder), markdown)


def _within_docs(link: re.Match[str], folder: str) -> str:
    """Return the link if its target is below docs/, otherwise its text."""
    target = posixpath.normpath(posixpath.join(folder, link[2]))
    return link[1] if target.startswith("..") else link[0]
