# How Sphinx makes the book: `cargo lab book` copies this file beside the notebooks and runs Sphinx on them.
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "pinlab"
html_title = "pinlab: pinning and async Rust, watched in live memory"
extensions = ["myst_nb", "sphinx_copybutton"]
html_theme = "sphinx_book_theme"
html_theme_options = {
    "use_download_button": True,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "max_navbar_depth": 1,
    "show_navbar_depth": 1,
}
html_static_path = ["_static"]
html_css_files = ["lab.css", "course.css"]
html_js_files = ["theme.js"]
html_show_copyright = False
html_last_updated_fmt = None

# The outputs are those that the notebooks have.
nb_execution_mode = "off"
nb_merge_streams = True
nb_render_error_lexer = "myst-ansi"
nb_render_text_lexer = "myst-ansi"
# A picture that can be asked before one that stands still.
nb_mime_priority_overrides = [("html", "text/html", 0), ("html", "image/svg+xml", 1)]
myst_heading_anchors = 3
suppress_warnings = ["myst.header", "config.cache"]


def slug(text):
    """The anchor of a heading as JupyterLab names it, which the course's own links rely on."""
    return re.sub(r"[`*]", "", text).replace(" ", "-")


# By name: a function itself cannot be kept in Sphinx's environment.
myst_heading_slug_func = "conf.slug"
