// wazero: main compiler|interpreter|strict CASES OUT
package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

type testCase struct {
	Module, Input, Output, Entry string
	Writes, Reads                [][2]uint32
	Threads                      int
	Pages                        uint64
}

// withMemory is a module of a shared memory alone, which it exports as the others import it.
func withMemory(pages uint64) []byte {
	size := binary.AppendUvarint(nil, pages)
	section := append(append([]byte{1, 3}, size...), size...)
	wasm := append([]byte("\x00asm\x01\x00\x00\x00\x05"), byte(len(section)))
	return append(append(wasm, section...), "\x07\x0a\x01\x06memory\x02\x00"...)
}

// instances makes one for each thread, all but the first of which are in `help` soon after; and what ends those.
func instances(ctx context.Context, runtime wazero.Runtime, wasm []byte, one testCase) (api.Module, func() error, error) {
	if one.Threads == 1 {
		module, err := runtime.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithName(""))
		return module, func() error { return nil }, err
	}
	named := wazero.NewModuleConfig().WithName("littoral")
	if _, err := runtime.InstantiateWithConfig(ctx, withMemory(one.Pages), named); err != nil {
		return nil, nil, err
	}
	team := make([]api.Module, one.Threads)
	for i := range team {
		var err error
		if team[i], err = runtime.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithName("")); err != nil {
			return nil, nil, err
		}
	}
	ended := make(chan error)
	for i, module := range team[1:] {
		go func() {
			_, err := module.ExportedFunction("help").Call(ctx, uint64(i+1))
			ended <- err
		}()
	}
	end := func() error {
		_, err := team[0].ExportedFunction("stop").Call(ctx)
		for range team[1:] {
			err = errors.Join(err, <-ended)
		}
		return err
	}
	return team[0], end, nil
}

func run(ctx context.Context, runtime wazero.Runtime, wasm []byte, one testCase, input []byte) ([]byte, error) {
	module, end, err := instances(ctx, runtime, wasm, one)
	if err != nil {
		return nil, err
	}
	memory := module.Memory()
	for _, place := range one.Writes {
		if !memory.Write(place[0], input[:place[1]]) {
			return nil, fmt.Errorf("input at %d lies outside memory", place[0])
		}
		input = input[place[1]:]
	}
	if _, err := module.ExportedFunction(one.Entry).Call(ctx); err != nil {
		return nil, err
	}
	var output []byte
	for _, place := range one.Reads {
		data, ok := memory.Read(place[0], place[1])
		if !ok {
			return nil, fmt.Errorf("output at %d lies outside memory", place[0])
		}
		output = append(output, data...)
	}
	return output, end()
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
	threads := api.CoreFeaturesV2 | experimental.CoreFeaturesThreads
	configs := map[string]wazero.RuntimeConfig{
		"compiler":    wazero.NewRuntimeConfigCompiler().WithCoreFeatures(threads),
		"interpreter": wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(threads),
		"strict":      wazero.NewRuntimeConfigCompiler().WithCoreFeatures(api.CoreFeaturesV1),
	}
	if err := all(configs[os.Args[1]], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
