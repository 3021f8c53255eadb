"""How Sphinx reads the pages; docs/dev/build-site runs it."""

project = "osgpilot"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "osgpilot"
html_copy_source = False
html_show_copyright = False

# links to headings, checked, under the names that GitHub gives them
myst_heading_anchors = 4
# blocks with commands and output mixed, or with `…` in them, are shown as they are
suppress_warnings = ["misc.highlighting_failure"]
