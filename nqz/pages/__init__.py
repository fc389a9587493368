"""Pages that show what is in containers, for people: HTML that stands alone, and Markdown for a model card.

A page is a function of what `nqz.commands.report.gather` found: the same facts give the same text.

    findings    what follows from the facts: rows, marks, the place of each matrix on the limit, and the verdict
    marks       what is remarkable about a tensor
    markup      text that is HTML already, and everything else, which becomes harmless
    numbers     numbers as pages show them
    treemap     bytes as areas, error as color
    limits      errors and rates next to the limit Γ(R)
    table       a row for each tensor, and what unfolds below it
    html        the page
    card        the section of a model card
"""
