"""The dead-letter queue, as an operator works on it.

batches.py   messages as SQS takes and gives them
box.py       the queue itself: reading it without losing anything, sending back, deleting
held.py      what a command has received, hidden from others for as long as it works
letters.py   what lies in it, each message with what the table knows of its session
check.py     what the consumer would do with each message now
choice.py    which of the messages a command is about
tasks.py     moving the whole queue back, as SQS does it by itself
redrive.py   moving messages back, by SQS or one by one
fates.py     what became of sessions after a redrive
purge.py     dropping messages on purpose
"""
