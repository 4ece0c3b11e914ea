// Command esc-engine evaluates, encrypts and formats Pulumi ESC definitions with Pulumi's own code.
//
// Its first line of input is {"key": "…"}, an AES key in base64. Each further line is one request:
//
//	{"do": "encrypt", "name": N, "definition": D}                       → {"definition": D}
//	{"do": "decrypt", "name": N, "definition": D}                       → {"definition": D}
//	{"do": "check", "name": N, "definition": D, "showSecrets": B}       → {"environment": E, "diagnostics": […]}
//	{"do": "open", "name": N, "definition": D}                          → {"environment": E, "diagnostics": […]}
//	{"do": "property", "environment": E, "path": P}                     → {"value": V}
//
// While it checks or opens, it may ask for an import with {"import": N}; the next line of input then answers
// {"definition": D} or {"error": T}. A request that fails is answered with {"error": T}.
package main

import (
	"bufio"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/hashicorp/hcl/v2"
	"github.com/pulumi/esc"
	"github.com/pulumi/esc/eval"
	"github.com/pulumi/esc/schema"
	"github.com/pulumi/esc/syntax"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

type request struct {
	Do          string           `json:"do"`
	Name        string           `json:"name"`
	Definition  string           `json:"definition"`
	ShowSecrets bool             `json:"showSecrets"`
	Environment *esc.Environment `json:"environment"`
	Path        string           `json:"path"`
}

type response struct {
	Definition  *string          `json:"definition,omitempty"`
	Environment *esc.Environment `json:"environment,omitempty"`
	Diagnostics []diagnostic     `json:"diagnostics,omitempty"`
	Value       *esc.Value       `json:"value,omitempty"`
	Error       string           `json:"error,omitempty"`
}

// diagnostic has the form of EnvironmentDiagnostic in cmd/esc/cli/client/apitype.go.
type diagnostic struct {
	Range    *esc.Range `json:"range,omitempty"`
	Summary  string     `json:"summary"`
	Detail   string     `json:"detail,omitempty"`
	Severity string     `json:"severity"`
}

type engine struct {
	input  *bufio.Reader
	output *json.Encoder
	aead   cipher.AEAD
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	e := &engine{input: bufio.NewReaderSize(os.Stdin, 1<<16), output: json.NewEncoder(os.Stdout)}
	e.output.SetEscapeHTML(false)
	var first struct {
		Key []byte `json:"key"`
	}
	if err := e.read(&first); err != nil {
		return err
	}
	block, err := aes.NewCipher(first.Key)
	if err != nil {
		return err
	}
	if e.aead, err = cipher.NewGCM(block); err != nil {
		return err
	}
	for {
		line, err := e.input.ReadBytes('\n')
		if err != nil {
			return nil // nobody asks any more
		}
		var asked request
		answer := response{}
		if err := json.Unmarshal(line, &asked); err != nil {
			answer.Error = err.Error()
		} else {
			answer = e.answer(asked)
		}
		if err := e.output.Encode(answer); err != nil {
			return err
		}
	}
}

func (e *engine) read(into any) error {
	line, err := e.input.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, into)
}

// answer carries out one request. A panic in Pulumi's code is an error like any other.
func (e *engine) answer(asked request) (answer response) {
	defer func() {
		if problem := recover(); problem != nil {
			answer = response{Error: fmt.Sprintf("panic: %v", problem)}
		}
	}()
	var err error
	switch asked.Do {
	case "encrypt":
		answer.Definition, err = rewritten(eval.EncryptSecrets(context.Background(), asked.Name, []byte(asked.Definition), e))
	case "decrypt":
		answer.Definition, err = rewritten(eval.DecryptSecrets(context.Background(), asked.Name, []byte(asked.Definition), e))
	case "check", "open":
		answer.Environment, answer.Diagnostics, err = e.evaluate(asked)
	case "property":
		answer.Value, err = property(asked.Environment, asked.Path)
	default:
		err = fmt.Errorf("unknown request %q", asked.Do)
	}
	if err != nil {
		return response{Error: err.Error()}
	}
	return answer
}

func rewritten(source []byte, err error) (*string, error) {
	text := string(source)
	return &text, err
}

func (e *engine) evaluate(asked request) (*esc.Environment, []diagnostic, error) {
	declared, diags, err := eval.LoadYAMLBytes(asked.Name, []byte(asked.Definition))
	if err != nil || diags.HasErrors() {
		return nil, exported(diags), err
	}
	execution, err := esc.NewExecContext(map[string]esc.Value{})
	if err != nil {
		return nil, nil, err
	}
	var environment *esc.Environment
	var found syntax.Diagnostics
	if asked.Do == "open" {
		environment, found = eval.EvalEnvironment(
			context.Background(), asked.Name, declared, e, providers{}, e, execution)
	} else {
		environment, found = eval.CheckEnvironment(
			context.Background(), asked.Name, declared, e, providers{}, e, execution, asked.ShowSecrets)
	}
	diags.Extend(found...)
	return environment, exported(diags), nil
}

func exported(diags syntax.Diagnostics) []diagnostic {
	var found []diagnostic
	for _, d := range diags {
		severity := "error"
		if d.Severity == hcl.DiagWarning {
			severity = "warning"
		}
		found = append(found, diagnostic{textRange(d.Subject), d.Summary, d.Detail, severity})
	}
	return found
}

func textRange(subject *hcl.Range) *esc.Range {
	if subject == nil {
		return nil
	}
	at := func(pos hcl.Pos) esc.Pos { return esc.Pos{Line: pos.Line, Column: pos.Column, Byte: pos.Byte} }
	return &esc.Range{Environment: subject.Filename, Begin: at(subject.Start), End: at(subject.End)}
}

func property(environment *esc.Environment, path string) (*esc.Value, error) {
	parsed, err := resource.ParsePropertyPath(path)
	if err != nil {
		return nil, err
	}
	value := esc.NewValue(environment.Properties)
	for _, accessor := range parsed {
		switch content := value.Value.(type) {
		case map[string]esc.Value:
			name, _ := accessor.(string)
			found, ok := content[name]
			if !ok {
				return nil, nil
			}
			value = found
		case []esc.Value:
			index, ok := accessor.(int)
			if !ok || index < 0 || index >= len(content) {
				return nil, nil
			}
			value = content[index]
		default:
			return nil, nil
		}
	}
	return &value, nil
}

// LoadEnvironment asks for the definition of an import.
func (e *engine) LoadEnvironment(_ context.Context, name string) ([]byte, eval.Decrypter, error) {
	if err := e.output.Encode(map[string]string{"import": name}); err != nil {
		return nil, nil, err
	}
	var answer struct{ Definition, Error string }
	if err := e.read(&answer); err != nil {
		return nil, nil, err
	}
	if answer.Error != "" {
		return nil, nil, errors.New(answer.Error)
	}
	return []byte(answer.Definition), e, nil
}

// Encrypt gives each ciphertext a new nonce: the same value never looks the same twice.
func (e *engine) Encrypt(_ context.Context, plaintext []byte) ([]byte, error) {
	nonce := make([]byte, e.aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return e.aead.Seal(nonce, nonce, plaintext, nil), nil
}

// Decrypt opens what Encrypt sealed with the same key.
func (e *engine) Decrypt(_ context.Context, ciphertext []byte) ([]byte, error) {
	size := e.aead.NonceSize()
	if len(ciphertext) < size {
		return nil, errors.New("ciphertext is too short")
	}
	return e.aead.Open(nil, ciphertext[:size], ciphertext[size:], nil)
}

// providers knows every provider and rotator. Each takes any input and gives it back.
type providers struct{}

func (providers) LoadProvider(context.Context, string) (esc.Provider, error) { return provider{}, nil }

func (providers) LoadRotator(context.Context, string) (esc.Rotator, error) { return rotator{}, nil }

type provider struct{}

func (provider) Schema() (*schema.Schema, *schema.Schema) { return schema.Always(), schema.Always() }

func (provider) Open(_ context.Context, inputs map[string]esc.Value, _ esc.EnvExecContext) (esc.Value, error) {
	return esc.NewValue(inputs), nil
}

type rotator struct{}

func (rotator) Schema() (*schema.Schema, *schema.Schema, *schema.Schema) {
	return schema.Always(), schema.Always(), schema.Always()
}

func (rotator) Open(_ context.Context, _, state map[string]esc.Value, _ esc.EnvExecContext) (esc.Value, error) {
	return esc.NewValue(state), nil
}

func (rotator) Rotate(_ context.Context, _, state map[string]esc.Value, _ esc.EnvExecContext) (esc.Value, error) {
	return esc.NewValue(state), nil
}
