package soft

import (
	"errors"
	"io"
)

// Serve answers the requests that arrive on conn, one after the other, until
// the stream ends, which is no error. The answer's ID is filled in here. A
// request that does not parse is answered with its error; a broken frame ends
// the conversation, since nothing after it can be found again.
func Serve(conn io.ReadWriter, answer func(Request) Answer) error {
	for {
		payload, err := ReadFrame(conn)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		request, err := ParseRequest(payload)
		reply := Answer{}
		if err != nil {
			reply.Error = err.Error()
		} else {
			reply = answer(request)
		}
		reply.ID = request.ID
		if err := WriteFrame(conn, reply); err != nil {
			return err
		}
	}
}
