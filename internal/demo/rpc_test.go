package demo

import (
	"context"
	"os"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// The definitions that operators read are those that the services answer by.
func TestTheDefinitionsAreTheExamples(t *testing.T) {
	example, err := os.ReadFile("../../config/examples/services.proto")
	if err != nil {
		t.Fatal(err)
	}
	if string(example) != servicesProto {
		t.Error("config/examples/services.proto is not internal/demo/services.proto")
	}
}

// A client speaks to the services by gRPC.
type client map[string]*grpc.ClientConn

func (c client) call(ctx context.Context, t *testing.T, service, method, message string, trailer *metadata.MD) (string, error) {
	t.Helper()
	d, err := described().FindDescriptorByName(protoreflect.FullName(rpcs[service].service))
	if err != nil {
		t.Fatal(err)
	}
	md := d.(protoreflect.ServiceDescriptor).Methods().ByName(protoreflect.Name(method))
	in, out := dynamicpb.NewMessage(md.Input()), dynamicpb.NewMessage(md.Output())
	if err := protojson.Unmarshal([]byte(message), in); err != nil {
		t.Fatal(err)
	}
	if trailer == nil {
		trailer = &metadata.MD{}
	}
	if err := c[service].Invoke(ctx, "/"+rpcs[service].service+"/"+method, in, out, grpc.Trailer(trailer)); err != nil {
		return "", err
	}
	id := out.Descriptor().Fields().ByJSONName("orderId")
	if method == "SignIn" {
		id = out.Descriptor().Fields().ByName("token")
	}
	if id == nil {
		return "", nil
	}
	return out.Get(id).String(), nil
}

// Both faces of a service have one state and one count, and a purchase goes through all of them.
func TestServicesByGRPC(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	services, err := NewServices(ServicesOptions{Seed: 1, Tracer: func(service string) trace.Tracer { return provider.Tracer(service) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- services.Serve(ctx) }()
	defer func() {
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
	}()
	c := client{}
	for _, name := range ServiceNames {
		cc, err := grpc.NewClient("passthrough:///"+services.URL(name)[len("http://"):], grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer cc.Close()
		c[name] = cc
		if h, err := healthpb.NewHealthClient(cc).Check(ctx, &healthpb.HealthCheckRequest{}); err != nil || h.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("%s: health %v, %v", name, h, err)
		}
		stream, err := reflectionpb.NewServerReflectionClient(cc).ServerReflectionInfo(ctx)
		if err != nil {
			t.Fatal(err)
		}
		q := &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: rpcs[name].service}}
		if err := stream.Send(q); err != nil {
			t.Fatal(err)
		}
		if a, err := stream.Recv(); err != nil || len(a.GetFileDescriptorResponse().GetFileDescriptorProto()) != 1 {
			t.Errorf("%s: reflection %v, %v", name, a, err)
		}
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
	}
	must := func(service, method, message string) string {
		t.Helper()
		id, err := c.call(ctx, t, service, method, message, nil)
		if err != nil {
			t.Fatalf("%s.%s: %v", service, method, err)
		}
		return id
	}
	const traced = "0af7651916cd43dd8448eb211c80319c"
	ctx = metadata.AppendToOutgoingContext(ctx, "traceparent", "00-"+traced+"-b7ad6b7169203331-01")
	token := must("user", "SignIn", `{"email": "alice@example.com", "password": "secret-alice"}`)
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	must("user", "Profile", `{}`)
	must("catalog", "List", `{"q": "fine", "limit": 5}`)
	must("catalog", "Get", `{"product_id": 7}`)
	must("cart", "Add", `{"product_id": 7, "quantity": 2}`)
	order := must("order", "Create", `{"customer_id": "c", "items": [{"product_id": 7, "quantity": 1, "price": 2.5}]}`)
	must("payment", "Charge", `{"order_id": "`+order+`", "amount": 2.5, "currency": "EUR", "payment_method": "card"}`)
	must("order", "Get", `{"order_id": "`+order+`"}`)
	must("inventory", "Get", `{"product_id": 7}`)
	must("notification", "Send", `{"customer_id": "c", "type": "news", "message": "hello"}`)
	if got := services.Counts()["order"]["POST /api/orders"][201]; got != 1 {
		t.Errorf("the order service counts %d orders, want 1", got)
	}
	// From the client on, what the services ask of each other included, all is one trace.
	for _, span := range spans.Ended() {
		if got := span.SpanContext().TraceID().String(); got != traced {
			t.Errorf("%s is in the trace %s, want %s", span.Name(), got, traced)
		}
	}
	if n := len(spans.Ended()); n < 10+4 {
		t.Errorf("%d spans, want those of 10 requests and of what the services ask of each other", n)
	}
	for _, x := range []struct {
		service, method, message string
		want                     codes.Code
	}{
		{"user", "SignIn", `{"email": "alice@example.com"}`, codes.Unauthenticated},
		{"catalog", "Get", `{"product_id": 100000}`, codes.NotFound},
		{"order", "Create", `{}`, codes.InvalidArgument},
		{"payment", "Charge", `{"order_id": "` + order + `", "amount": 2.5, "currency": "EUR", "payment_method": "card"}`, codes.FailedPrecondition},
	} {
		if _, err := c.call(ctx, t, x.service, x.method, x.message, nil); status.Code(err) != x.want {
			t.Errorf("%s.%s %s: %v, want %v", x.service, x.method, x.message, err, x.want)
		}
	}
	// The breaker around the bank opens, and says so.
	k := services.Service("payment").Knobs()
	k.ErrorRatio = map[string]float64{"": 1}
	if err := services.Service("payment").Set(k); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		var trailer metadata.MD
		_, err := c.call(ctx, t, "payment", "Charge", `{"order_id": "x", "amount": 1, "currency": "EUR", "payment_method": "card"}`, &trailer)
		if status.Code(err) != codes.Unavailable {
			t.Fatalf("a bank that fails: %v", err)
		}
		if len(trailer.Get("x-circuit-breaker")) > 0 {
			return
		}
	}
	t.Error("the breaker does not open")
}
