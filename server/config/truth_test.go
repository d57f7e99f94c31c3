package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// usedHere are the fields of honoured keys that nobody outside the package reads, because the package itself
// acts on them.
var usedHere = map[string]string{
	"Storage.DataLogDir":      "WALPath",
	"Storage.DirAutocreate":   "PrepareDirs",
	"Autopurge.PurgeInterval": "what it asks for happens more often; see checkPurgeInterval",
	"Metrics.ClassName":       "Metrics.Provider",
	"Auth.SessionRequireSasl": "EnforceSchemes",
	"Auth.SSLProvider":        "there is one; see checkAuth",
}

// fieldOf names the field of c that p points to, as a path from Config.
func fieldOf(c *Config, p any) string {
	at, typ := reflect.ValueOf(p).Pointer(), reflect.TypeOf(p).Elem()
	var find func(v reflect.Value, path string) string
	find = func(v reflect.Value, path string) string {
		if v.Addr().Pointer() == at && v.Type() == typ {
			return path
		}
		if v.Kind() != reflect.Struct {
			return ""
		}
		for i := range v.NumField() {
			if !v.Type().Field(i).IsExported() {
				continue
			}
			name := strings.TrimPrefix(path+"."+v.Type().Field(i).Name, ".")
			if v.Type().Field(i).Anonymous {
				name = path
			}
			if found := find(v.Field(i), name); found != "" {
				return found
			}
		}
		return ""
	}
	return find(reflect.ValueOf(c).Elem(), "")
}

// TestHonouredKeysAreRead keeps the table from lying: the field of a key that is honoured is read by some other
// package of the server. Method: the name of the field, behind a dot, stands in a source file of the server
// that is no test and not of this package.
func TestHonouredKeysAreRead(t *testing.T) {
	var sources strings.Builder
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "config" || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		b, err := os.ReadFile(path)
		sources.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	all, c := sources.String(), &Config{}
	for _, k := range Keys() {
		if k.Treatment != Honoured || k.target == nil {
			continue
		}
		path := fieldOf(c, k.target(c))
		if path == "" {
			t.Errorf("%s: no field of Config", k.Name)
			continue
		}
		name := path[strings.LastIndexByte(path, '.')+1:]
		read := regexp.MustCompile(`\.` + name + `\b`).MatchString(all)
		if _, here := usedHere[path]; read == here {
			t.Errorf("%s is honoured; read elsewhere: %v, listed as used here: %v", k.Name, read, here)
		}
	}
}
