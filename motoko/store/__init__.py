"""Keeping studies and workflows in ZEO databases: the only place that knows ZODB.

From the bottom up: `codec` turns rows into bytes, `layout` says which trees a database has,
`index` and `tables` read and write them, `operations` are the things a session can do,
`address` says where a database is, `feed` tells what changed, `database` is one open
connection to a server, `session` a unit of work over several of them, `server` the process
that holds the files.
"""
