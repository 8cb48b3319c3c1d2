package console

// Note tells the person at the console something that is neither a step nor
// its end: what is being waited for, what was restarted. The line is
// "secretvm: note: <text>".
func (c *Console) Note(text string) { c.print("note: " + oneLine(text)) }
