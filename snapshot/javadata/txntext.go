package javadata

// AppendTxnText appends a transaction (header, body, digest) as one line of text without its end. What does
// not decode is named in its place. It borrows txn until return.
func AppendTxnText(dst, txn []byte) []byte { return appendTxnText(dst, txn) }
