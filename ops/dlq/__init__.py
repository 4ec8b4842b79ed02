"""The dead-letter queue, as an operator works on it.

message_batches.py  SQS batch calls, in which single entries may be rejected
queue.py            the queue: receive, hide, send back, delete
leases.py           messages that one command has received and keeps hidden while it works
dead_letters.py     each dead message with what the table knows of its session
error_types.py      the error types that a dead message can have
check.py            what the consumer would do with each message now
message_filter.py   which messages a command selects
move_tasks.py       moving the whole queue back with SQS message move tasks
redrive.py          moving messages back, with a move task or batch by batch
outcome_poller.py   the outcomes of sessions after a redrive
purge.py            dismissing sessions and deleting their messages
"""
