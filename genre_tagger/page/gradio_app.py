"""The browser page as a Gradio app."""

from pathlib import Path
from typing import Any

import gradio
from fastapi import FastAPI

from genre_tagger.audio import ffmpeg
from genre_tagger.page.upload_limits import BodyLimit, UploadLimits, sweeping
from genre_tagger.page.uploads import QUEUED, TEMPLATES, UploadTagger

FORMATS, BY_FFMPEG = ("MP3", "FLAC", "Ogg", "Opus", "WAV"), ("M4A", "AAC")

_HERE = Path(__file__).parent
# gradio ships this font. Its default theme uses weight 600, which has only a few letters.
_FONT = (gradio.themes.LocalFont("Source Sans Pro", weights=(400, 700)), "system-ui", "sans-serif")


def build_app(uploads: UploadTagger, model: str, limits: UploadLimits) -> FastAPI:
    """Return the page with its queue, for any ASGI server. The page loads nothing from other servers.

    Args:
        uploads: the object that tags the uploads, one at a time.
        model: name of the model, as shown on the page.
        limits: limits of an upload. The page and the server refuse larger files.
    """
    formats = FORMATS + BY_FFMPEG if ffmpeg.is_installed() else FORMATS
    page = TEMPLATES.get_template("page.html.jinja")
    with (
        gradio.Blocks(title="genre-tagger", analytics_enabled=False, fill_width=True) as blocks,
        gradio.Column(elem_id="page"),
    ):
        gradio.HTML(page.render(model=model, formats=formats, limits=limits), apply_default_css=False)
        answers = gradio.HTML(
            {"html": "", "json": None},
            html_template="${value.html}",  # inserted as it is; in {{ }} a song's name would be parsed as a template
            js_on_load=(_HERE / "page.js").read_text(encoding="utf-8"),
            apply_default_css=False,
            min_height=120,
            max_megabytes=limits.megabytes,
        )

        def answer(dropped: gradio.EventData) -> dict[str, Any]:
            return uploads.answer(dropped.path, dropped.name)

        answers.dropped(answer, None, answers, trigger_mode="multiple", api_visibility="private")
    blocks.queue(max_size=QUEUED, default_concurrency_limit=1, api_open=False)
    # Without openapi_url there are no documentation pages, which would load scripts from other servers.
    app = FastAPI(openapi_url=None, lifespan=sweeping(uploads))
    app.add_middleware(BodyLimit, max_bytes=limits.megabytes * 10**6)
    mounted: FastAPI = gradio.mount_gradio_app(
        app,
        blocks,
        path="/",
        theme=gradio.themes.Default(primary_hue="indigo", font=_FONT),
        css_paths=[_HERE / "page.css"],
        max_file_size=limits.megabytes * 10**6,
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        pwa=False,
    )
    return mounted
