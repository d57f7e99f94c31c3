package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"zabra.dev/zabra/server/config"
)

// pointerKey names the file with the members after a reconfiguration.
const pointerKey = "dynamicConfigFile"

// layOut writes the server's files; data that is there stays.
func (s *Server) layOut() error {
	if err := os.MkdirAll(s.DataDir(), 0o755); err != nil {
		return fmt.Errorf("local: %w", err)
	}
	if len(s.members) > 0 {
		if err := config.WriteFileAtomic(filepath.Join(s.DataDir(), config.MyIDFile), fmt.Appendln(nil, s.ID), 0o644); err != nil {
			return fmt.Errorf("local: %w", err)
		}
	}
	return s.writeConfig()
}

// set changes a setting.
func (s *Server) set(key, value string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settings = append(s.settings, map[string]string{key: value})
	return s.writeConfig()
}

// pointer returns the path of the file of members that zoo.cfg points to, empty when there is none.
func (s *Server) pointer() (string, error) {
	text, err := os.ReadFile(s.Config())
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("local: %w", err)
	}
	p, err := config.ParseProperties(text)
	if err != nil {
		return "", nil // nobody's work but the user's, and replaced
	}
	path, _ := p.Get(pointerKey)
	return path, nil
}

// Reconfigured tells whether the server takes its members from a file that a reconfiguration wrote, which need not be
// those of the Options.
func (s *Server) Reconfigured() (bool, error) {
	path, err := s.pointer()
	return path != "", err
}

// writeConfig writes zoo.cfg. Where the server has written one that points to a file of members, the pointer
// takes the place of the members that the ensemble began with.
func (s *Server) writeConfig() error {
	members := s.members
	path, err := s.pointer()
	if err != nil {
		return err
	}
	if path != "" {
		members = map[string]string{pointerKey: path}
	}
	if err := config.WriteFileAtomic(s.Config(), []byte(configText(append(slices.Clone(s.settings), members))), 0o644); err != nil {
		return fmt.Errorf("local: %w", err)
	}
	return nil
}

// configText is zoo.cfg of the settings, of which later ones replace earlier ones; members come last.
func configText(settings []map[string]string) string {
	all := map[string]string{}
	for _, m := range settings {
		for k, v := range m {
			all[k] = v
		}
	}
	var lines []string
	for k, v := range all {
		if v != "" {
			lines = append(lines, k+"="+v+"\n")
		}
	}
	isMember := func(line string) int {
		if strings.HasPrefix(line, "server.") || strings.HasPrefix(line, pointerKey) {
			return 1
		}
		return 0
	}
	slices.SortFunc(lines, func(a, b string) int {
		if d := isMember(a) - isMember(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return strings.Join(lines, "")
}
