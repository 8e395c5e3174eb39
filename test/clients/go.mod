module crossfade.dev/test/clients

go 1.26.0

replace crossfade.dev => ../..

require github.com/openai/openai-go/v3 v3.96.0
