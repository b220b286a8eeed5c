"""Reports: each a pure function of a run document, and of nothing else.

    terminal.show     what a person reads after `perdure run`; plain when piped
    summary.text      Markdown, for the summary page of a CI job
    junit.write       JUnit XML, for whatever reads that
    allure.write      Allure results: one test a rule, with a history over runs

What belongs here: how things look. What does not: verdicts, counts and texts about a violation; those are made by the
kit, so that every report says the same. The modules are loaded one by one, since `allure` and `terminal` each need a
package that the others do not.
"""

__all__ = ("allure", "junit", "summary", "terminal")
