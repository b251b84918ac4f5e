// wazero: main compiler|interpreter CASES OUT
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tetratelabs/wazero"
)

type testCase struct {
	Module, Input, Output, Entry string
	Writes, Reads                [][2]uint32
}

func run(ctx context.Context, runtime wazero.Runtime, wasm []byte, one testCase, input []byte) ([]byte, error) {
	module, err := runtime.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		return nil, err
	}
	defer module.Close(ctx)
	for _, place := range one.Writes {
		if !module.Memory().Write(place[0], input[:place[1]]) {
			return nil, fmt.Errorf("input at %d lies outside memory", place[0])
		}
		input = input[place[1]:]
	}
	if _, err := module.ExportedFunction(one.Entry).Call(ctx); err != nil {
		return nil, err
	}
	var output []byte
	for _, place := range one.Reads {
		data, ok := module.Memory().Read(place[0], place[1])
		if !ok {
			return nil, fmt.Errorf("output at %d lies outside memory", place[0])
		}
		output = append(output, data...)
	}
	return output, nil
}

func all(config wazero.RuntimeConfig, cases, out string) error {
	ctx := context.Background()
	plan, err := os.ReadFile(filepath.Join(out, "plan.json"))
	if err != nil {
		return err
	}
	var wanted []testCase
	if err := json.Unmarshal(plan, &wanted); err != nil {
		return err
	}
	for _, one := range wanted {
		wasm, err := os.ReadFile(filepath.Join(cases, one.Module))
		if err != nil {
			return err
		}
		input, err := os.ReadFile(filepath.Join(cases, one.Input))
		if err != nil {
			return err
		}
		runtime := wazero.NewRuntimeWithConfig(ctx, config)
		output, err := run(ctx, runtime, wasm, one, input)
		runtime.Close(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", one.Output, err)
		}
		if err := os.WriteFile(filepath.Join(out, one.Output), output, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	config := wazero.NewRuntimeConfigCompiler()
	if os.Args[1] == "interpreter" {
		config = wazero.NewRuntimeConfigInterpreter()
	}
	if err := all(config, os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
