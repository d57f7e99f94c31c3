package javadata

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
)

// Compression is the method of a snapshot file, which its extension tells (section 3.2).
type Compression int

// The methods that Java has since 3.6.
const (
	CompressionNone Compression = iota
	CompressionGzip
	CompressionSnappy
)

// ParseCompression reads zookeeper.snapshot.compression.method: gz or snappy; anything else is none, as in
// Java.
func ParseCompression(method string) Compression {
	switch method {
	case "gz":
		return CompressionGzip
	case "snappy":
		return CompressionSnappy
	}
	return CompressionNone
}

// Extension returns "", ".gz" or ".snappy".
func (c Compression) Extension() string {
	switch c {
	case CompressionGzip:
		return ".gz"
	case CompressionSnappy:
		return ".snappy"
	}
	return ""
}

// CompressionOf tells the method from a file's name.
func CompressionOf(name string) Compression {
	switch {
	case strings.HasSuffix(name, ".gz"):
		return CompressionGzip
	case strings.HasSuffix(name, ".snappy"):
		return CompressionSnappy
	}
	return CompressionNone
}

// The stream of snappy-java: a header, then chunks of [length i32][raw Snappy block].
const (
	snappyMagic           = "\x82SNAPPY\x00"
	snappyHeaderBytes     = 8 + 4 + 4
	snappyChunkBytes      = 32 << 10 // of input, when writing
	snappyChunkBytesLimit = 64 << 20 // of either side, when reading
)

var gzipMagic = []byte{0x1f, 0x8b}

// Decompress returns a reader of the uncompressed stream. It reads ahead of what it gives.
func Decompress(r io.Reader, c Compression) (io.Reader, error) {
	switch c {
	case CompressionGzip:
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("%w: gzip: %w", ErrFormat, eofAsCut(err))
		}
		return gzipErrors{z}, nil
	case CompressionSnappy:
		s := &snappyReader{r: bufio.NewReaderSize(r, sourceBufferBytes)}
		return s, s.header()
	}
	return r, nil
}

// gzipErrors gives gzip's errors the kinds of this package.
type gzipErrors struct{ z *gzip.Reader }

func (g gzipErrors) Read(p []byte) (int, error) {
	n, err := g.z.Read(p)
	if err != nil && err != io.EOF {
		if errors.Is(err, gzip.ErrChecksum) {
			err = fmt.Errorf("%w: %w", ErrChecksum, err)
		} else {
			err = fmt.Errorf("%w: gzip: %w", ErrFormat, eofAsCut(err))
		}
	}
	return n, err
}

func eofAsCut(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return ErrCut
	}
	return err
}

type snappyReader struct {
	r     *bufio.Reader
	chunk []byte // compressed
	plain []byte
	rest  []byte // of plain
}

func (s *snappyReader) header() error {
	h := make([]byte, snappyHeaderBytes)
	if _, err := io.ReadFull(s.r, h); err != nil {
		return fmt.Errorf("%w: snappy header: %w", ErrFormat, eofAsCut(err))
	}
	if string(h[:len(snappyMagic)]) != snappyMagic {
		return fmt.Errorf("%w: snappy header % x", ErrFormat, h)
	}
	return nil
}

func (s *snappyReader) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *snappyReader) next() error {
	var head [4]byte
	if _, err := io.ReadFull(s.r, head[:]); err != nil {
		if err == io.EOF {
			return io.EOF
		}
		return fmt.Errorf("%w: snappy chunk length: %w", ErrFormat, eofAsCut(err))
	}
	n := int64(binary.BigEndian.Uint32(head[:]))
	if n > snappyChunkBytesLimit {
		return fmt.Errorf("%w: snappy chunk of %d bytes", ErrFormat, n)
	}
	var err error
	buf := bytes.NewBuffer(s.chunk[:0])
	if _, err = io.CopyN(buf, s.r, n); err != nil {
		return fmt.Errorf("%w: snappy chunk of %d bytes: %w", ErrFormat, n, eofAsCut(err))
	}
	s.chunk = buf.Bytes()
	if m, err := s2.DecodedLen(s.chunk); err != nil || m > snappyChunkBytesLimit {
		return fmt.Errorf("%w: snappy chunk of %d bytes becomes %d: %v", ErrFormat, n, m, err)
	}
	if s.plain, err = s2.Decode(s.plain[:cap(s.plain)], s.chunk); err != nil {
		return fmt.Errorf("%w: snappy chunk: %w", ErrFormat, err)
	}
	s.rest = s.plain
	return nil
}

// Compress returns a writer whose input reaches w compressed. Close completes the stream and leaves w open.
func Compress(w io.Writer, c Compression) io.WriteCloser {
	switch c {
	case CompressionGzip:
		return gzip.NewWriter(w)
	case CompressionSnappy:
		return &snappyWriter{w: w, plain: make([]byte, 0, snappyChunkBytes)}
	}
	return plainWriter{w}
}

type plainWriter struct{ io.Writer }

func (plainWriter) Close() error { return nil }

type snappyWriter struct {
	w       io.Writer
	started bool
	plain   []byte
	block   []byte // memory for a compressed chunk
	out     []byte
}

func (s *snappyWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		n := min(len(p), snappyChunkBytes-len(s.plain))
		s.plain = append(s.plain, p[:n]...)
		p = p[n:]
		if len(s.plain) == snappyChunkBytes {
			if err := s.flush(); err != nil {
				return written, err
			}
		}
		written += n
	}
	return written, nil
}

func (s *snappyWriter) flush() error {
	s.out = s.out[:0]
	if !s.started {
		s.started = true
		s.out = append(s.out, snappyMagic...)
		s.out = binary.BigEndian.AppendUint32(s.out, 1)
		s.out = binary.BigEndian.AppendUint32(s.out, 1)
	}
	if len(s.plain) > 0 {
		if s.block == nil {
			s.block = make([]byte, s2.MaxEncodedLen(snappyChunkBytes))
		}
		block := s2.EncodeSnappy(s.block, s.plain)
		s.out = binary.BigEndian.AppendUint32(s.out, uint32(len(block)))
		s.out = append(s.out, block...)
		s.plain = s.plain[:0]
	}
	_, err := s.w.Write(s.out)
	return err
}

func (s *snappyWriter) Close() error { return s.flush() }
