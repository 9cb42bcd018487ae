import java.util.ArrayList;
import java.util.List;
import org.junit.platform.engine.DiscoverySelector;
import org.junit.platform.engine.discovery.DiscoverySelectors;
import org.junit.platform.launcher.LauncherDiscoveryRequest;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;
import org.junit.platform.launcher.listeners.SummaryGeneratingListener;
import org.junit.platform.launcher.listeners.TestExecutionSummary;

/** Runs the tests of classes (JUnit 3 to 5, disabled ones too); ends with 1 if one fails or there is none. */
class RunTests {
    static final String[] CLASSES = {/* classes */};

    public static void main(String[] arguments) throws Exception {
        List<DiscoverySelector> selectors = new ArrayList<>();
        for (String name : CLASSES) {
            selectors.add(DiscoverySelectors.selectClass(Class.forName(name)));
        }
        LauncherDiscoveryRequest request = LauncherDiscoveryRequestBuilder.request()
            .selectors(selectors)
            .configurationParameter("junit.jupiter.conditions.deactivate", "org.junit.*DisabledCondition")
            .build();
        SummaryGeneratingListener listener = new SummaryGeneratingListener();
        LauncherFactory.create().execute(request, listener);
        TestExecutionSummary summary = listener.getSummary();
        for (TestExecutionSummary.Failure failure : summary.getFailures()) {
            System.err.println(failure.getTestIdentifier().getUniqueId() + ": " + failure.getException());
        }
        System.err.println(summary.getTestsSucceededCount() + " passed, " + summary.getTotalFailureCount() + " failed");
        if (summary.getTestsSucceededCount() == 0 || summary.getTotalFailureCount() > 0) {
            System.exit(1);
        }
    }
}
