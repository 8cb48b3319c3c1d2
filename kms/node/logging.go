package node

import (
	"context"
	"log/slog"

	"cosmossdk.io/log/v2"
	cmtlog "github.com/cometbft/cometbft/libs/log"
)

// sdkLogger and cometLogger give the one slog.Logger the two libraries' shapes.
type (
	sdkLogger   struct{ *slog.Logger }
	cometLogger struct{ *slog.Logger }
)

var (
	_ log.Logger    = sdkLogger{}
	_ cmtlog.Logger = cometLogger{}
)

func (l sdkLogger) With(kv ...any) log.Logger { return sdkLogger{l.Logger.With(kv...)} }
func (l sdkLogger) Impl() any                 { return l.Logger }

func (l sdkLogger) InfoContext(ctx context.Context, msg string, kv ...any) {
	l.Logger.InfoContext(ctx, msg, kv...)
}

func (l cometLogger) With(kv ...any) cmtlog.Logger { return cometLogger{l.Logger.With(kv...)} }
