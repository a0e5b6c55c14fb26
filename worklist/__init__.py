"""The language and the rules: what a study, an order, a reading task and a report are, and who may
do what to them.

Standard library only. Rules are plain functions over frozen values; what they need from outside
(rows, facts, jobs) comes in as the `Unit` of `worklist.ports`.
"""
