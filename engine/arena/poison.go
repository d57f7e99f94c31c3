package arena

import "fmt"

// poisonByte fills freed memory in checked builds. It is odd and not ASCII, so that neither
// lengths nor names made of it look plausible.
const poisonByte = 0xDB

func poison(b []byte) {
	for i := range b {
		b[i] = poisonByte
	}
}

// checkPoison panics if somebody wrote into b after it was freed.
func checkPoison(b []byte, what string, handle uint32) {
	for i, c := range b {
		if c != poisonByte {
			panic(fmt.Sprintf("arena: %s %#x: byte %d was written after it was freed", what, handle, i))
		}
	}
}
