package sasl

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// DigestModule is the class of ZooKeeper's login module for DIGEST-MD5.
const DigestModule = "org.apache.zookeeper.server.auth.DigestLoginModule"

// Users are those who may log in, with their passwords.
type Users struct{ passwords map[string]string }

// find is the section of that name; ok is false if there is none.
func find(list []Section, name string) (s Section, ok bool) {
	i := slices.IndexFunc(list, func(s Section) bool { return s.Name == name })
	if i < 0 {
		return Section{}, false
	}
	return list[i], true
}

// onlyDigest refuses a section with modules that this server has no equivalent of.
func (s Section) onlyDigest() error {
	for _, m := range s.Modules {
		if m.Class != DigestModule {
			return fmt.Errorf("%w: section %s: %s is not available, only %s is", ErrJAAS, s.Name, m.Class, DigestModule)
		}
	}
	return nil
}

// UsersOf gives the users of a server's section, the options user_NAME=PASSWORD; nil if there is no section of that
// name. superPassword takes the place of the password of the user "super" unless it is empty. Errors
// match ErrJAAS.
func UsersOf(list []Section, name, superPassword string) (*Users, error) {
	s, ok := find(list, name)
	if !ok {
		return nil, nil
	}
	if err := s.onlyDigest(); err != nil {
		return nil, err
	}
	u := &Users{passwords: map[string]string{}}
	for _, m := range s.Modules {
		for option, value := range m.Options {
			if user, ok := strings.CutPrefix(option, "user_"); ok {
				u.passwords[user] = value
			}
		}
	}
	if _, ok := u.passwords["super"]; ok && superPassword != "" {
		u.passwords["super"] = superPassword
	}
	return u, nil
}

// LoginOf gives user and password of a client's section, the options username and password; ok is false if there is no section of
// that name. Errors match ErrJAAS.
func LoginOf(list []Section, name string) (user, password string, ok bool, err error) {
	s, found := find(list, name)
	if !found {
		return "", "", false, nil
	}
	if err := s.onlyDigest(); err != nil {
		return "", "", false, err
	}
	all := map[string]string{}
	for _, m := range s.Modules {
		maps.Copy(all, m.Options)
	}
	for _, option := range []string{"username", "password"} {
		if all[option] == "" {
			return "", "", false, fmt.Errorf("%w: section %s has no %s", ErrJAAS, name, option)
		}
	}
	return all["username"], all["password"], true, nil
}

func (u *Users) password(user string) (string, bool) {
	p, ok := u.passwords[user]
	return p, ok
}
