"""`sluicegate doctor`: looks at all that the daemon needs, says how to mend it.

``table.py`` lists every check with its id; ``runner.py`` runs them in order, each
within its time; ``checks_*.py`` are functions from a `Context` to rows.
Nothing is changed: the store is opened read-only, a bus is opened for listening and
closed again, the broker sees one clean connection. docs/doctor.md is made of the table.
"""
