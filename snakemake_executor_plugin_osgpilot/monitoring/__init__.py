"""What a run tells and keeps of itself: history, progress, the console.

recorder, records    what is written to the history, and when
history_file         the file (JSON lines)
line_check           whether a line that is read is whole
progress             how far a run is, and the estimate of what remains
console              lines and the status line in the terminal
"""
